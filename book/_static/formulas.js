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
/* Paper is light, and what is folded on the screen, code apart, is open on paper. */
(function () {
  var page = document.documentElement, theme, opened = [];
  window.addEventListener("beforeprint", function () {
    theme = page.dataset.theme;
    page.dataset.theme = "light";
    opened = Array.from(document.querySelectorAll("details:not([open]):not(.code-fold)"));
    opened.forEach(function (box) { box.open = true; });
  });
  window.addEventListener("afterprint", function () {
    page.dataset.theme = theme;
    opened.forEach(function (box) { box.open = false; });
  });
})();
/* Forty buttons of one name are none to a screen reader: each says what it copies. */
window.addEventListener("load", function () {
  document.querySelectorAll("button.copybtn").forEach(function (button, i) {
    var fold = button.closest("details"), line = fold && fold.querySelector("summary");
    var code = document.querySelector(button.dataset.clipboardTarget);
    var said = (line || code || button).textContent.trim().split("\n")[0].slice(0, 60);
    button.setAttribute("aria-label", "Copy code " + (i + 1) + ": " + said);
  });
});
