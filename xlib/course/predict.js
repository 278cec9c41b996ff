// A question, its answer, and how the guesses went, as predict.py puts them into a notebook. Each output holds this whole
// script, inside the element that it is about. All that is shown is set as text.
(() => {
  const PREFIX = "xlib-predict:", EVENT = "xlib-predict";
  const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" }; // Jupyter's shortcuts are not for here
  const memory = (window.xlibPredict ??= {}); // where a page may not use localStorage

  // What is known of a question: {question, choice, scale, order, guess, skipped, truth, words}; guess and truth are
  // {text, value}.
  function read(key) {
    let text = memory[key];
    try {
      text = localStorage.getItem(key) ?? text;
    } catch {}
    try {
      return JSON.parse(text) ?? {};
    } catch {
      return {};
    }
  }

  function write(key, entry) {
    memory[key] = JSON.stringify(entry);
    try {
      localStorage.setItem(key, memory[key]);
    } catch {}
    document.dispatchEvent(new Event(EVENT));
  }

  function keys(start) {
    let stored = [];
    try {
      stored = Object.keys(localStorage);
    } catch {}
    return [...new Set([...stored, ...Object.keys(memory)])].filter((key) => key.startsWith(start));
  }

  function make(tag, attributes = {}, ...inside) {
    const el = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) el.setAttribute(name, value);
    el.append(...inside);
    return el;
  }

  // Draw now, and whenever anything is answered on this page.
  function follow(draw) {
    document.addEventListener(EVENT, draw);
    draw();
  }

  // ---- a question

  function question(box, asked) {
    const key = PREFIX + asked.name;
    const kind = { question: asked.question, choice: !!asked.choices, scale: asked.scale };
    const known = () => {
      const entry = read(key); // what was said to another question does not count
      return entry.question === asked.question ? { ...entry, ...kind } : { ...kind, order: Date.now() };
    };
    write(key, known());

    const sure = make("button", { type: "submit", class: "sure", disabled: "", ...OWN_KEYS }, "That is my guess");
    const skip = make("button", { type: "button", ...OWN_KEYS }, "Skip");
    const answer = (asked.choices ? choices : asked.slider ? slider : number)(asked, (given) => (sure.disabled = !given));
    const folded = "The result is folded until you have answered. The cell runs meanwhile.";
    const fields = make("fieldset", {}, make("legend", {}, asked.question), answer.el);
    const form = make("form", {}, fields, sure, skip, make("p", { class: "folded" }, folded));
    const verdict = make("p", { role: "status", tabindex: "-1" });
    const anew = make("button", { type: "button", ...OWN_KEYS }, "Answer anew");
    const done = make("div", {}, make("p", {}, make("strong", {}, asked.question)), verdict, anew);
    box.replaceChildren(form, done);

    const decide = (change, focus) => {
      const { guess, skipped, ...rest } = known();
      write(key, { ...rest, ...change });
      focus.focus({ preventScroll: true });
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      decide({ guess: answer.guess() }, verdict);
    });
    fields.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // in JupyterLab Enter alone sends no form
      if (!sure.disabled) form.requestSubmit();
    });
    skip.addEventListener("click", () => decide({ skipped: true }, verdict));
    anew.addEventListener("click", () => decide({}, form.querySelector("input")));
    follow(() => {
      const entry = known(), closed = !!(entry.guess || entry.skipped);
      if (form.hidden && !closed) {
        form.reset();
        answer.clear?.();
        sure.disabled = true;
      }
      box.classList.toggle("open", !closed);
      form.hidden = closed;
      done.hidden = !closed;
      const text = closed ? says(entry) : "";
      if (verdict.textContent !== text) verdict.textContent = text; // or it would be read out again
    });
  }

  function says({ guess, skipped, truth, words, choice }) {
    const rest = words ? ` ${words}` : "";
    if (!truth) return skipped ? "Skipped." : `You said ${guess.text}.`;
    if (skipped) return `Skipped. Answer: ${truth.text}.${rest}`;
    if (!choice) return `You said ${guess.text}, it is ${truth.text}.${rest}`;
    if (guess.value === truth.value) return `✓ You said “${guess.text}”: yes.${rest}`;
    return `✗ You said “${guess.text}”: no, “${truth.text}”.${rest}`;
  }

  // Three ways to answer: an element, what it says, and how to take that back, where a form does not do it. `given` is
  // told whether there is an answer yet.

  function choices(asked, given) {
    const name = "xlib-" + Math.random().toString(36).slice(2); // a notebook may be shown twice on one page
    const el = make("div");
    for (const words of asked.choices) {
      const input = make("input", { type: "radio", name, value: words, ...OWN_KEYS });
      input.addEventListener("change", () => given(true));
      el.append(make("label", {}, input, words));
    }
    const guess = () => el.querySelector(":checked").value;
    return { el, guess: () => ({ text: guess(), value: guess() }) };
  }

  function slider(asked, given) {
    const [min, max, step] = asked.slider, label = `your guess, from ${min} to ${max}`;
    const input = make("input", { type: "range", min, max, step, "aria-label": label, ...OWN_KEYS });
    const shown = make("output");
    const text = () => input.valueAsNumber.toFixed(asked.decimals);
    const clear = () => {
      input.value = (min + max) / 2; // where the first key starts from; there is no thumb yet
      input.classList.add("untouched");
      input.setAttribute("aria-valuetext", (shown.textContent = "no guess yet"));
    };
    const touched = () => {
      input.classList.remove("untouched");
      input.removeAttribute("aria-valuetext");
      shown.textContent = text();
      given(true);
    };
    input.addEventListener("input", touched);
    input.addEventListener("pointerup", touched); // a click on the middle is an answer, and changes nothing
    clear();
    const el = make("div", {}, `${min}`, input, `${max}`, shown);
    return { el, clear, guess: () => ({ text: text(), value: input.valueAsNumber }) };
  }

  function number(asked, given) {
    const label = `your guess ${asked.unit}`.trim(), value = () => input.valueAsNumber;
    const input = make("input", { type: "number", step: "any", "aria-label": label, ...OWN_KEYS });
    input.addEventListener("input", () => given(Number.isFinite(value())));
    const guess = () => ({ text: `${value()} ${asked.unit}`.trim(), value: value() });
    return { el: make("div", {}, input, asked.unit), guess };
  }

  // ---- what is true

  function answer(el, { name, truth, words }) {
    el.style.display = "none"; // the question says it
    write(PREFIX + name, { ...read(PREFIX + name), truth, words });
  }

  // ---- how the guesses of a lesson went

  function guesses(box, lesson) {
    const LEFT = { style: "text-align: left" }; // Jupyter has the last word on tables in a style sheet
    const mine = () => keys(`${PREFIX}${lesson}/`);
    const sentence = make("p", { role: "status" }), list = make("tbody");
    const forget = make("button", { type: "button", ...OWN_KEYS }, "Forget my guesses of this lesson");
    const heads = ["question", "you said", "it is"].map((words) => make("th", { scope: "col", ...LEFT }, words));
    box.replaceChildren(sentence, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), list), forget);
    forget.addEventListener("click", () => {
      for (const key of mine()) {
        const { guess, skipped, ...rest } = read(key);
        write(key, rest);
      }
    });
    follow(() => {
      const all = mine().map(read).filter((entry) => entry.question).sort((a, b) => a.order - b.order);
      const text = summary(all);
      if (sentence.textContent !== text) sentence.textContent = text;
      list.replaceChildren(...all.map(({ question, guess, skipped, truth }) => {
        const said = guess?.text ?? (skipped ? "skipped" : "–"), is = (guess || skipped) && truth ? truth.text : "–";
        return make("tr", {}, ...[question, said, is].map((words) => make("td", LEFT, words)));
      }));
      forget.disabled = !all.some((entry) => entry.guess || entry.skipped);
    });
  }

  function summary(all) {
    const said = all.filter((entry) => entry.guess), known = said.filter((entry) => entry.truth);
    const parts = [`You answered ${said.length} of ${all.length} questions.`];
    const picked = known.filter((entry) => entry.choice);
    if (picked.length) {
      const right = picked.filter((entry) => entry.guess.value === entry.truth.value).length;
      parts.push(`Right choices: ${right} of ${picked.length}.`);
    }
    const percent = (shares) => `${Math.round((100 * shares.reduce((sum, x) => sum + x, 0)) / shares.length)}%`;
    const off = (entry, by) => Math.abs(entry.guess.value - entry.truth.value) / Math.abs(by);
    const slid = known.filter((entry) => entry.scale);
    if (slid.length)
      parts.push(`Sliders: off by ${percent(slid.map((e) => off(e, e.scale)))} of their length on average.`);
    const typed = known.filter((entry) => !entry.choice && !entry.scale && entry.truth.value);
    if (typed.length)
      parts.push(`Numbers: off by ${percent(typed.map((e) => off(e, e.truth.value)))} of the true number on average.`);
    return parts.join(" ");
  }

  const el = document.currentScript.parentElement, { asked, truth, lesson } = JSON.parse(el.dataset.xlib);
  if (asked) question(el, asked);
  else if (truth) answer(el, truth);
  else guesses(el, lesson);
})();
