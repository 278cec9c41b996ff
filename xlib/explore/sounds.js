// What can be heard: an item when it is chosen by a click or Enter, or by its button, and a typed caption by its button.
// What is pointed at, and what Python or an address chooses, is silent.

const PLAYER = (globalThis.xlibPlayer ??= { stop() {} }); // of all explorers of a page: it stops what they play
const TYPED = -1; // the typed caption, in place of a row
const UNHEARD_MARKUP = `<p data-ui="unheard" class="warning refused" role="alert" hidden></p>`;

function createSounds(view) {
  const { data, ui, get, on } = view;
  const sizes = data.sounds; // of their files, in bytes
  const buttons = [];
  let [playing, clip] = [null, null]; // a row or TYPED, and what plays it

  /** Whether item i can be heard, or the typed caption: Python may still be at the one before. */
  const audible = (i) =>
    i === TYPED ? get("spoken").byteLength > 0 && get("asked")[1] === get("typed") : sizes[i] > 0;

  function addressOf(i) {
    const { buffer, byteOffset } = get(i === TYPED ? "spoken" : "sounds");
    const start = i === TYPED ? 0 : sizes.slice(0, i).reduce((sum, size) => sum + size, 0);
    const size = i === TYPED ? get("spoken").byteLength : sizes[i];
    const bytes = new Uint8Array(buffer, byteOffset + start, size);
    return `data:audio/mpeg;base64,${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}`;
  }

  function say(words) {
    ui.unheard.textContent = words;
    ui.unheard.hidden = !words;
  }

  /** Play item i from its beginning, if it can be heard, in place of whatever plays on this page. */
  function play(i) {
    if (!audible(i)) return;
    PLAYER.stop();
    say("");
    const own = new Audio(addressOf(i));
    const end = () => {
      own.pause();
      if (clip === own) follow(null, null);
    };
    const fail = ({ name }) => {
      if (clip !== own) return; // it was stopped before it began
      end();
      say(name === "NotAllowedError" ? "The browser let no sound play: press ▶ once more." : "This sound cannot be played here.");
    };
    PLAYER.stop = own.onended = end;
    own.onerror = fail;
    follow(i, own);
    own.play().catch(fail);
  }

  function follow(i, own) {
    [playing, clip] = [i, own];
    for (const node of buttons) dress(node, node.item);
  }

  /** Stop what this explorer plays; whether it played anything. */
  function stop() {
    if (!clip) return false;
    PLAYER.stop();
    return true;
  }

  /** A button that plays, and stops, what `dress` gives it. */
  function button() {
    const node = h("button", { type: "button", class: "hear" });
    node.setAttribute(...OWN_KEYS);
    on(node, "click", () => (playing === node.item ? stop() : play(node.item)));
    buttons.push(node);
    return node;
  }

  /** Give a button item i, or TYPED; it has nothing to do where that cannot be heard. */
  function dress(node, i) {
    node.item = i;
    node.disabled = !audible(i);
    if (node.disabled) return;
    node.title = `${i === playing ? "Stop" : "Play"}: ${i === TYPED ? get("typed") : data.captions[i]}`;
    node.setAttribute("aria-label", node.title);
    node.classList.toggle("playing", i === playing);
  }

  return { some: sizes.length > 0, audible, play, stop, button, dress, say };
}
