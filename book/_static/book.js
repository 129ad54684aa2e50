/* A formula that scrolls sideways has to be reachable with the keyboard, and no other one. */
document.addEventListener("DOMContentLoaded", function () {
  const sizes = new ResizeObserver(function (entries) {
    entries.forEach(function (entry) {
      const box = entry.target;
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    });
  });
  document.querySelectorAll("div.math").forEach((box) => sizes.observe(box));
});
