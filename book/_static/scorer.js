/* What a search shows first: the chapters, then the other pages, then names in the module. */
var Scorer = {
  score: function (result) {
    var page = result[0], points = result[4];
    if (/^book\/(api|runtimes|bibliography)$/.test(page)) { return points - 20; }
    return /^book\/\w+\//.test(page) ? points + 10 : points;
  },
  objNameMatch: 4, objPartialMatch: 2, objPrio: { 0: 3, 1: 1, 2: -3 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2
};
