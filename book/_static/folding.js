/* Folded code: one switch shows all of it and folds it again; what a link leads to is opened. */
document.addEventListener("DOMContentLoaded", function () {
  var root = document.documentElement, button = document.querySelector(".code-switch");
  var folds = [].slice.call(document.querySelectorAll("details.code-fold"));
  var numbers = [].slice.call(document.querySelectorAll(".pasted-text[data-cell]"));

  var status = document.createElement("span");
  status.className = "only-said";
  status.setAttribute("role", "status");
  document.body.appendChild(status);

  function stored(value) {
    try {
      if (value === undefined) { return localStorage.getItem("escape-code"); }
      localStorage.setItem("escape-code", value);
    } catch (refused) { return null; }
  }

  /* With the code shown, the numbers of the text are links to it; else the words read on undisturbed. */
  function set(shown) {
    root.classList.toggle("code-shown", shown);
    folds.forEach(function (fold) { fold.open = shown; });
    if (button) {
      button.setAttribute("aria-pressed", String(shown));
      button.title = shown ? "Fold all code (c)" : "Show all code (c)";
    }
    numbers.forEach(function (number) {
      if (shown) { number.setAttribute("role", "link"); number.tabIndex = 0; }
      else { number.removeAttribute("role"); number.removeAttribute("tabindex"); }
    });
  }

  /* What stands at the top of the window stays there. */
  function toggle() {
    var blocks = document.querySelectorAll("article p, article h1, article h2, article h3, article figure, details.code-fold > summary, article div.math");
    var first = [].filter.call(blocks, function (b) { return b.getBoundingClientRect().bottom > 80 && b.getClientRects().length && (!b.checkVisibility || b.checkVisibility()); })[0];
    var before = first && first.getBoundingClientRect().top, shown = !root.classList.contains("code-shown");
    root.style.overflowAnchor = "none";
    set(shown);
    stored(shown ? "shown" : "folded");
    status.textContent = shown ? "All code is shown" : "All code is folded";
    if (first) { window.scrollBy({ top: first.getBoundingClientRect().top - before, behavior: "instant" }); }
    requestAnimationFrame(function () { root.style.overflowAnchor = ""; });
  }

  /* Open whatever hides the target of an address: its fold, the solution or proof that it is part of. */
  function reveal(hash, go) {
    var target = null, opened = false;
    try { target = document.getElementById(decodeURIComponent(hash.slice(1))); } catch (odd) { return; }
    for (var part = target; part && part.closest; part = part.parentElement) {
      if (part.tagName === "DETAILS" && !part.open) { part.open = opened = true; }
      var hidden = part.classList.contains("toggle-hidden") && part.querySelector("button.toggle-button");
      if (hidden) { hidden.click(); opened = true; }
    }
    if (opened && go) { target.scrollIntoView(); }  /* else the browser is there, or where the reader was */
  }

  function follow(number) {
    var place = number.getAttribute("data-cell");
    if (place[0] === "#") { reveal(place); }
    location.href = place;
  }

  if (button) {
    button.classList.add("ready");
    button.addEventListener("click", toggle);
  }
  if (stored() === "shown") { set(true); }
  document.addEventListener("keydown", function (event) {
    var at = event.target;
    if (event.key === "Enter" && at.matches && at.matches(".pasted-text[role=link]")) { follow(at); }
    if (event.key !== "c" || event.ctrlKey || event.metaKey || event.altKey || event.repeat) { return; }
    if (at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName)) { return; }
    if (folds.length || numbers.length) { toggle(); }
  });
  document.addEventListener("click", function (event) {
    var link = event.target.closest("a[href^='#']"), number = event.target.closest(".pasted-text[data-cell]");
    if (link) { reveal(link.getAttribute("href")); }
    else if (number && !event.target.closest("a, summary, button") && !String(getSelection())) { follow(number); }
  });
  window.addEventListener("hashchange", function () { reveal(location.hash, true); });
  window.addEventListener("load", function () { reveal(location.hash, true); });
});
