// What every page of the site does: what scrolls sideways can be reached by keyboard, the list of sections follows the
// reader, and one button shows all code.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const watch = new ResizeObserver((seen) => {
    for (const { target } of seen)
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
  });
  for (const el of document.querySelectorAll("pre, .wide, :is(p, li):has(> math)")) watch.observe(el);

  // The section that is being read, in sight in the list of sections, which scrolls by itself.
  const list = document.querySelector(".bd-sidebar-secondary");
  const follow = new MutationObserver(() => {
    const here = [...list.querySelectorAll("a.active")].at(-1)?.getBoundingClientRect();
    const whole = list.getBoundingClientRect();
    if (here && (here.top < whole.top || here.bottom > whole.bottom))
      list.scrollTop += here.top - (whole.top + whole.height / 2);
  });
  if (list) follow.observe(list, { subtree: true, attributeFilter: ["class"] });

  const all = document.querySelector(".xlib-code"), folded = document.querySelectorAll("details.hide");
  all?.addEventListener("click", () => {
    const open = all.getAttribute("aria-pressed") !== "true";
    all.setAttribute("aria-pressed", open);
    for (const details of folded) details.open = open;
  });
});
