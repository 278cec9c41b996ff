// Slides of a lesson: how large things are, and which keys turn the page.

(() => {
  const [WIDTH, HEIGHT] = [1280, 720];
  const [LEAST, LARGEST] = [20, 34]; // px of text; what is smaller on a slide has nine tenths of it
  const [NARROWEST, MOST] = [860, 1.9]; // px that a panel needs across; times its own size

  const over = (body) => body.scrollHeight > body.clientHeight + 1 || body.scrollWidth > body.clientWidth + 1;
  const settled = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

  /** Text as large as the room allows. */
  function fitText(body) {
    let [least, most] = [LEAST, LARGEST];
    const set = (size) => (body.style.fontSize = `${size}px`);
    body.classList.remove("tight", "tighter");
    set(least);
    for (const closer of ["tight", "tighter"]) if (over(body)) body.classList.add(closer);
    set(most);
    if (!over(body)) return;
    for (let i = 0; i < 6; i++) {
      const middle = (least + most) / 2;
      set(middle);
      if (over(body)) most = middle;
      else least = middle;
    }
    set(least);
  }

  /** A panel or an explorer as large as the room allows. It draws itself anew when its width has changed. (By a
   * transform: with `zoom`, a pointer's offset would be in other pixels than what is drawn.) */
  async function fitAlive(body, place) {
    const limit = Math.min(MOST, body.clientWidth / NARROWEST);
    const map = place.querySelector('[data-kind="explorer"]'); // which becomes higher with its width
    let size = +place.dataset.size || limit;
    for (let i = 0; i < 6; i++) {
      const width = map ? NARROWEST : body.clientWidth / size;
      place.dataset.size = size;
      place.style.width = `${width}px`;
      place.style.transform = `translateX(${(body.clientWidth - width * size) / 2}px) scale(${size})`;
      await settled();
      const room = body.getBoundingClientRect().height / place.getBoundingClientRect().height;
      if (room >= 1 && (room < 1.03 || size === limit)) break;
      size = Math.min(limit, size * room * 0.99);
    }
  }

  function fit(slide) {
    const body = slide?.querySelector(":scope > .body");
    if (!body?.clientHeight) return;
    const place = body.querySelector(":scope > .alive");
    if (place) fitAlive(body, place);
    else fitText(body);
  }

  // A panel or an explorer takes the keys while it has the focus. What turns pages in a lecturer's hand sends Page Up and
  // Page Down: those always turn the page.
  const inside = () => document.activeElement?.closest(".alive");
  document.addEventListener("keydown", (event) => {
    if (!inside() || !["PageUp", "PageDown"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    document.activeElement.blur();
    if (event.key === "PageDown") Reveal.next();
    else Reveal.prev();
  }, true);

  Reveal.on("ready", ({ currentSlide }) => fit(currentSlide));
  Reveal.on("slidechanged", ({ currentSlide }) => {
    document.activeElement?.blur(); // of a panel that is no longer seen
    fit(currentSlide);
  });
  Reveal.initialize({
    width: WIDTH,
    height: HEIGHT,
    margin: 0,
    center: false,
    display: "flex",
    hash: true,
    navigationMode: "linear",
    slideNumber: "c/t",
    transition: "none",
    keyboardCondition: () => !inside(),
    plugins: [RevealNotes],
  });

  // It may start, or become higher, when its slide is there already.
  const grown = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const slide = target.closest("section");
      if (slide === Reveal.getCurrentSlide() && over(slide.querySelector(".body"))) fit(slide);
    }
  });
  for (const place of document.querySelectorAll(".body > .alive")) grown.observe(place);
})();
