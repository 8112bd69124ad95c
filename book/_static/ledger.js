/* The ledger: choose claims by word, part, origin and verdict; say how many are left. */
(function () {
  var form = document.querySelector("form.ledger-controls");
  if (!form) { return; }
  function plain(text) { return text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase(); }
  var parts = Array.from(document.querySelectorAll("details.ledger-part")).map(function (box) {
    var rows = Array.from(box.querySelectorAll("tbody tr")).map(function (row) {
      return { row: row, text: plain(row.textContent) };
    });
    return { box: box, rows: rows, count: box.querySelector(".ledger-part-count") };
  });
  var count = form.querySelector(".ledger-count"), fields = form.elements, before = null;
  var total = parts.reduce(function (sum, part) { return sum + part.rows.length; }, 0);

  function choose() {
    var words = plain(fields.words.value).split(/\s+/).filter(Boolean), shown = 0;
    var chosen = [fields.whose.value, fields.verdict.value].filter(Boolean);
    var choosing = words.length > 0 || chosen.length > 0 || fields.part.value !== "";
    if (choosing && !before) { before = parts.map(function (part) { return part.box.open; }); }
    parts.forEach(function (part, i) {
      var here = fields.part.value === "" || fields.part.value === part.box.dataset.part, left = 0;
      part.rows.forEach(function (item) {
        var fits = here && chosen.every(function (c) { return item.row.classList.contains(c); }) &&
          words.every(function (word) { return item.text.indexOf(word) >= 0; });
        item.row.hidden = !fits;
        left += fits;
      });
      shown += left;
      part.count.textContent = left === part.rows.length ? left : left + " of " + part.rows.length;
      part.box.hidden = left === 0;
      if (choosing) { part.box.open = true; } else if (before) { part.box.open = before[i]; }
    });
    if (!choosing) { before = null; }
    count.textContent = choosing ? shown + " of " + total + " claims" : total + " claims";
  }

  function arrive() { /* an address that names a claim shows it, whatever was chosen */
    var row = /^#claim-/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (!row) { return; }
    if (row.hidden) { form.reset(); choose(); }
    row.closest("details").open = true;
    row.scrollIntoView({ block: "center" });
  }

  form.addEventListener("input", choose);
  form.addEventListener("reset", function () { setTimeout(choose); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  window.addEventListener("hashchange", arrive);
  new URLSearchParams(location.search).forEach(function (value, name) {
    if (fields[name] && value) { fields[name].value = value; }
  });
  choose();
  arrive();
})();
