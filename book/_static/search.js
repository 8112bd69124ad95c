/* Search by sections. The sections stand in search-sections.js, which is written when the book is built:
   each is [page, anchor, title, what it sets in italics, kind], and their words a line a word (searching.py).
   The text of section 7 is search/7.js, fetched when its excerpt comes near. Works from a file, without a network. */
var BookSearch = (function () {
  var OTHER = { minima: "minimum", maxima: "maximum", criteria: "criterion", matrices: "matrix" };
  function stem(word) {
    if (OTHER[word]) { return OTHER[word]; }
    if (word.length > 4 && /ies$/.test(word)) { return word.slice(0, -3) + "y"; }
    return word.length > 3 && /[^su]s$/.test(word) ? word.slice(0, -1) : word;
  }
  function plain(text) { return text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase(); }
  function words(text) { return (plain(text).match(/[a-z0-9\u0370-\u03ff]+/g) || []).map(stem); }

  /* how much a kind of place counts: a definition most, the module and lists least */
  var KINDS = { term: 2.2, chapter: 1, page: 0.75, name: 0.5, list: 0.35 };

  function prepare(book) {
    if (book.ready) { return book.ready; }
    var seen = new Map(), total = 0;
    var sections = book.sections.map(function (s) {
      return { counts: new Map(), length: 0, title: words(s[2]), page: words(book.pages[s[0]][1]),
        italics: s[3].map(function (t) { return words(t).join(" "); }) };
    });
    book.words.split("\n").forEach(function (line) {
      var parts = line.split(" "), at = -1;
      seen.set(parts[0], parts.length - 1);
      parts.slice(1).forEach(function (part) {
        var step = part.split("."), n = +(step[1] || 1);
        at += +step[0];
        sections[at].counts.set(parts[0], n);
        sections[at].length += n;
        total += n;
      });
    });
    var defined = {};
    Object.keys(book.defined).forEach(function (w) { defined[words(w).join(" ")] = book.defined[w]; });
    book.ready = { defined: defined, sections: sections, seen: seen, mean: total / sections.length };
    return book.ready;
  }

  function find(book, query) {
    var ready = prepare(book), asked = Array.from(new Set(words(query))), phrase = words(query).join(" ");
    if (!asked.length) { return []; }
    var size = book.sections.length;
    var rare = asked.map(function (w) {
      var n = 0;
      ready.seen.forEach(function (m, other) { if (other.startsWith(w)) { n = Math.max(n, m); } });
      return Math.log(1 + size / (1 + n));
    });
    var found = [];
    ready.sections.forEach(function (s, i) {
      var score = 0, met = 0, entry = book.sections[i], whole = s.title.join(" ");
      asked.forEach(function (w, k) {
        var n = s.counts.get(w) || 0, part = 0;
        if (!n && w.length > 2) { s.counts.forEach(function (m, other) { if (other.startsWith(w)) { part += m; } }); }
        var count = n + 0.4 * part, here = count / (count + 1.2 * (0.4 + 0.6 * s.length / ready.mean));
        var titled = s.title.indexOf(w) >= 0 ? 1 : s.title.some(function (t) { return w.length > 2 && t.startsWith(w); }) ? 0.6 : 0;
        var above = s.page.indexOf(w) >= 0 ? 1 : 0;
        if (count || titled) { met += 1; score += rare[k] * (2 * here + 2.5 * titled + (count ? above : 0)); }
      });
      if (!entry[1] && book.pages[entry[0]][0] === ready.defined[phrase]) { score += 100; met = asked.length; }
      if (!met) { return; }
      if (whole === phrase) { score += 8; }
      if (s.italics.indexOf(phrase) >= 0) { score += 5; }
      if (asked.length > 1 && whole.indexOf(phrase) >= 0) { score += 4; }
      score *= KINDS[entry[4]] * (met / asked.length) * (met / asked.length);
      found.push({ score: score, index: i });
    });
    return found.sort(function (a, b) { return b.score - a.score || a.index - b.index; });
  }

  function excerpt(text, query) { /* the stretch around the first of the words: [text, is one of them] */
    var asked = words(query), pieces = text.split(/(\s+)/), hit = -1;
    function asks(piece) { return words(piece).some(function (w) { return asked.some(function (a) { return w.startsWith(a); }); }); }
    for (var i = 0; i < pieces.length && hit < 0; i += 2) { if (asks(pieces[i])) { hit = i; } }
    var start = Math.max(0, (hit < 0 ? 0 : hit) - 24), end = Math.min(pieces.length, start + 72);
    var out = pieces.slice(start, end).map(function (p, k) { return [p, k % 2 === start % 2 && asks(p)]; });
    if (start > 0) { out.unshift(["… ", false]); }
    if (end < pieces.length) { out.push([" …", false]); }
    return out;
  }
  var waiting = {};
  function tell(index, then) { /* the text of a section, when it is there */
    var script = document.createElement("script");
    waiting[index] = then;
    script.src = "_static/search/" + index + ".js";
    document.head.appendChild(script);
  }
  function told(index, text) { waiting[index](text); }
  return { find: find, excerpt: excerpt, words: words, tell: tell, told: told };
})();

if (typeof document !== "undefined") {
  document.addEventListener("DOMContentLoaded", function () {
    var query = new URLSearchParams(location.search).get("q") || "", place = document.getElementById("search-results");
    document.querySelectorAll("input[name=q]").forEach(function (field) { field.value = query; });
    if (!query || !place) { return; }
    var found = BookSearch.find(BOOK, query), shown = found.slice(0, 40), list = document.createElement("ul");
    function add(parent, tag, text) { var e = document.createElement(tag); e.textContent = text; parent.appendChild(e); return e; }
    var count = add(place, "p", found.length === 0 ? "Nothing was found for “" + query + "”." :
      found.length + (found.length === 1 ? " section was" : " sections were") + " found for “" + query + "”" +
      (found.length > shown.length ? "; here are the first " + shown.length + "." : "."));
    count.setAttribute("role", "status");
    list.className = "search";
    shown.forEach(function (hit) {
      var s = BOOK.sections[hit.index], page = BOOK.pages[s[0]], item = add(list, "li", "");
      add(item, "a", s[2]).href = page[0] + ".html" + (s[1] ? "#" + s[1] : "");
      if (s[2] !== page[1]) { add(item, "span", page[1]).className = "search-page"; }
      add(item, "p", "\u00a0").dataset.section = hit.index;
    });
    place.appendChild(list);
    function show(told) {
      BookSearch.tell(told.dataset.section, function (text) {
        told.textContent = "";
        BookSearch.excerpt(text, query).forEach(function (p) { if (p[1]) { add(told, "mark", p[0]); } else { told.append(p[0]); } });
      });
    }
    var near = new IntersectionObserver(function (seen) {
      seen.forEach(function (one) { if (one.isIntersecting) { near.unobserve(one.target); show(one.target); } });
    }, { rootMargin: "200px" });
    list.querySelectorAll("p[data-section]").forEach(function (told) { near.observe(told); });
  });
}
