/* A formula or a code block wider than its column can be scrolled with the keyboard, and says so. What is folded or far
   below is measured when the browser lays it out, so that nothing waits for it. */
window.addEventListener("load", function () {
  var watch = new ResizeObserver(function (seen) {
    seen.map(function (entry) { return [entry.target, entry.target.scrollWidth > entry.target.clientWidth + 1]; })
      .forEach(function (found) {
        found[0].classList.toggle("scrolls", found[1]);
        if (found[1]) { found[0].setAttribute("tabindex", "0"); } else { found[0].removeAttribute("tabindex"); }
      });
  });
  document.querySelectorAll("div.math, div.highlight pre, .pst-scrollable-table-container, div.cell_output pre")
    .forEach(function (box) { watch.observe(box); });
});
/* The section that is read is marked among the page's contents. */
window.addEventListener("load", function () {
  var links = new Map(), inView = new Set();
  document.querySelectorAll("#pst-page-toc-nav a.nav-link[href^='#']").forEach(function (link) {
    var section = document.getElementById(decodeURIComponent(link.hash.slice(1)));
    if (section) { links.set(section, link); }
  });
  var watch = new IntersectionObserver(function (seen) {
    seen.forEach(function (entry) { inView[entry.isIntersecting ? "add" : "delete"](entry.target); });
    var now = Array.from(links.keys()).filter(function (section) { return inView.has(section); }).pop();
    links.forEach(function (link, section) { link.classList.toggle("active", Boolean(now) && section.contains(now)); });
  }, {rootMargin: "0px 0px -60%"});
  links.forEach(function (link, section) { watch.observe(section); });
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
