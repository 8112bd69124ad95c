/* A formula or a code block wider than its column can be scrolled with the keyboard, and says so. */
function markScrollers() {
  document.querySelectorAll("div.math, div.highlight pre, .pst-scrollable-table-container, div.cell_output pre").forEach(function (box) {
    var scrolls = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("scrolls", scrolls);
    if (scrolls) { box.setAttribute("tabindex", "0"); } else { box.removeAttribute("tabindex"); }
  });
}
window.addEventListener("load", function () {
  markScrollers();
  window.addEventListener("resize", markScrollers);
});
window.addEventListener("beforeprint", function () {
  document.querySelectorAll("details:not(.code-fold)").forEach(function (box) { box.open = true; });
});
