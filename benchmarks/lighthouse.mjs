// Lighthouse's four scores of some built pages, on its phone and its desktop, added to the results of
// pages.py. The book must have been built; it is served from this machine, compressed, as a server would.
//
//     npm install --ignore-scripts lighthouse@12.8.2      (Node.js 20 or later, in a folder above or this one)
//     node benchmarks/lighthouse.mjs results.json [page.html ...]

import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import zlib from "node:zlib";

import * as launcher from "chrome-launcher";
import lighthouse from "lighthouse";
import desktop from "lighthouse/core/config/desktop-config.js";

const HTML = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "_build", "html");
const TYPES = {
  ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript",
  ".svg": "image/svg+xml", ".woff2": "font/woff2", ".png": "image/png", ".json": "application/json",
};
const PAGES = [  // the first, the longest, one with a lab, one with many formulas, a list, the module
  "book/index.html", "book/networks/logistic-valley.html", "book/escape/kramers.html",
  "book/theory/where-it-breaks.html", "book/ledger.html", "book/api/simulate.html",
];

function answer(request, response) {
  const file = path.join(HTML, path.normalize(decodeURIComponent(request.url.split("?")[0])));
  if (!file.startsWith(HTML) || !fs.existsSync(file)) return response.writeHead(404).end();
  const type = TYPES[path.extname(file)] ?? "application/octet-stream";
  const text = /text|svg|json/.test(type), data = fs.readFileSync(file);
  response.writeHead(200, { "content-type": type, ...(text ? { "content-encoding": "gzip" } : {}) });
  response.end(text ? zlib.gzipSync(data) : data);
}

const [results, ...pages] = process.argv.slice(2);
if (!results) throw new Error("name the file with the results of pages.py");
const server = http.createServer(answer).listen(0);
const scores = {};
for (const page of pages.length ? pages : PAGES) {
  scores[page] = {};
  for (const [form, config] of [["mobile", undefined], ["desktop", desktop]]) {
    const chrome = await launcher.launch({
      chromePath: process.env.DDT_CHROMIUM ?? "/usr/bin/chromium",
      chromeFlags: ["--headless=new", "--no-sandbox", "--disable-gpu"],
    });
    const address = `http://localhost:${server.address().port}/${page}`;
    const { lhr } = await lighthouse(address, { port: chrome.port, logLevel: "silent" }, config);
    chrome.kill();
    for (const [name, found] of Object.entries(lhr.categories))
      (scores[page][form] ??= {})[name] = Math.round(100 * found.score);
    scores[page][form]["blocked, ms"] = Math.round(lhr.audits["total-blocking-time"].numericValue);
    console.log(page, form, JSON.stringify(scores[page][form]));
  }
}
server.close();
const kept = JSON.parse(fs.readFileSync(results, "utf8"));
kept.lighthouse = { ...kept.lighthouse, ...scores };
fs.writeFileSync(results, JSON.stringify(kept, null, 1) + "\n");
