// A picture and its description. The image is one element whose content is swapped: nothing jumps while a slider is
// dragged. The description is its alt text at once, and is spoken when the sliders have come to rest.

const REST = 600; // milliseconds

function render({ model, el }) {
  const picture = document.createElement("img");
  // Made for dense screens: two pixels of the file to one of the page. Matplotlib's ink is dark, so the card is white.
  picture.style.cssText = `box-sizing: border-box; max-width: 100%; height: auto; padding: 8px; border-radius: 6px;
    color: black; background: white;`;
  const spoken = document.createElement("div");
  spoken.setAttribute("role", "status");
  spoken.style.cssText = "position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);";
  el.append(picture, spoken);
  let timer;

  function show() {
    picture.srcset = model.get("png") && `data:image/png;base64,${model.get("png")} 2x`;
    picture.alt = model.get("alt"); // which is seen where there is no picture
  }

  function change() {
    show();
    clearTimeout(timer);
    timer = setTimeout(() => { spoken.textContent = picture.alt; }, REST);
  }

  // ipywidgets leaves the handles of its sliders without a name, and says nothing when it makes them.
  const naming = setInterval(() => {
    for (const row of el.closest(".xlib-panel")?.querySelectorAll(".widget-slider") ?? [])
      row.querySelector("[role=slider]")?.setAttribute("aria-label", row.querySelector("label").textContent);
  }, REST);

  show();
  model.on("change", change);
  return () => {
    model.off("change", change);
    clearTimeout(timer);
    clearInterval(naming);
  };
}

export default { render };
