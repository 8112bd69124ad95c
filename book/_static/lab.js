/* The escape lab: random numbers, walkers, quadrature, and what a reader sees of them.
   The build puts `formulas` above this file: loss, noise, step and theory, written by
   book/_ext/lab.py from the SymPy expressions of ddt_utils. Nothing here repeats them. */
"use strict";

// --- normal random numbers: sfc32 and a ziggurat of 128 layers (Doornik 2005) ------------------
const EDGE = 3.442619855899, AREA = 9.91256303526217e-3;  // of the lowest layer, and of each
const bell = (x) => Math.exp(-0.5 * x * x);
const layers = new Float64Array(129), inner = new Float64Array(128);
layers[0] = AREA / bell(EDGE);
layers[1] = EDGE;
for (let i = 2; i < 128; i++) {
  layers[i] = Math.sqrt(-2 * Math.log(AREA / layers[i - 1] + bell(layers[i - 1])));
}
for (let i = 0; i < 128; i++) inner[i] = layers[i + 1] / layers[i];

class Normals {
  constructor(seed) {
    this.state = new Int32Array([seed, seed ^ 0x9e3779b9, 0x243f6a88, 1]);
    this.pool = new Int32Array(4096);
    this.used = 16;  // the first draws are left out: the seed is not everywhere in the state yet
    this.refill();
  }

  refill() {
    const { pool } = this;
    let [a, b, c, d] = this.state;
    for (let i = 0; i < pool.length; i++) {
      const t = (((a + b) | 0) + d) | 0;
      d = (d + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + t) | 0;
      pool[i] = t;
    }
    this.state.set([a, b, c, d]);
  }

  bits() {
    if (this.used === 4096) {
      this.refill();
      this.used = 0;
    }
    return this.pool[this.used++];
  }

  uniform() { return ((this.bits() >>> 0) + 0.5) / 4294967296; }

  /** Fill an array with independent standard normal numbers. */
  fill(out) {
    for (let i = 0; i < out.length; i++) {
      const t = this.bits(), k = t & 127, u = (t >> 7) / 16777216;  // 25 bits, from -1 to 1
      out[i] = Math.abs(u) < inner[k] ? u * layers[k] : this.seldom(k, u);
    }
  }

  /** What lies in the tail, or at the edge of a layer, one draw in eighty. */
  seldom(k, u) {
    if (k === 0) {
      for (;;) {
        const far = -Math.log(this.uniform()) / EDGE;
        if (-2 * Math.log(this.uniform()) > far * far) return u < 0 ? -EDGE - far : EDGE + far;
      }
    }
    const x = u * layers[k], high = bell(layers[k + 1]), low = bell(layers[k]);
    if (low + this.uniform() * (high - low) < bell(x)) return x;
    const again = this.bits(), layer = again & 127, v = (again >> 7) / 16777216;
    return Math.abs(v) < inner[layer] ? v * layers[layer] : this.seldom(layer, v);
  }
}

// --- walkers -----------------------------------------------------------------------------------
/** Walkers that start in the sharp minimum. One has escaped when it is first seen at or beyond the
    other minimum; it then belongs to that valley, or, one way only, is put back at the start. */
class Walk {
  constructor(f, { noise, oneWay = false, walkers = 5000, seed = 1 }) {
    Object.assign(this, { step: f[`${noise}Step`], oneWay, walkers, steps: 0 });
    [this.left, this.right] = [-f.sharpMinimum, f.flatMinimum];
    this.normals = new Normals(seed);
    this.kicks = new Float64Array(walkers);
    this.places = new Float64Array(walkers).fill(this.left);
    this.flat = new Uint8Array(walkers);  // the valley a walker belongs to: 0 sharp, 1 flat
    this.inFlat = 0;
    this.escapes = [0, 0];  // from the sharp valley, from the flat one
    this.waited = [0, 0];  // steps that walkers have spent belonging to each
  }

  advance(steps) {
    const { step, places, flat, kicks, left, right, oneWay, walkers } = this;
    for (let n = 0; n < steps; n++) {
      this.waited[0] += walkers - this.inFlat;
      this.waited[1] += this.inFlat;
      this.normals.fill(kicks);
      for (let i = 0; i < walkers; i++) {
        let x = step(places[i], kicks[i]);
        if (flat[i] ? x <= left : x >= right) {
          this.escapes[flat[i]]++;
          if (oneWay) x = left;
          else this.inFlat += (flat[i] ^= 1) ? 1 : -1;
        }
        places[i] = x;
      }
    }
    this.steps += steps;
  }
}

// --- the diffusion that the walk tends to for small steps: exact, by quadrature ----------------
/** Resting density and mean times to the other minimum, from the scale and speed densities of the
    Ito diffusion (Gardiner, section 5.5), by the midpoint rule on cells that end where D jumps. */
function truth(f, { noise, oneWay = false, cells = 300 }) {
  const D = f[`${noise}Diffusion`], a = -f.sharpMinimum, b = f.flatMinimum;
  const wall = (x) => 9 * Math.sqrt(D(x) / f.bend(x));
  const ends = [a - wall(a), a, -f.sharpJunction, 0, f.flatJunction, b, b + wall(b)];
  const x = [], width = [], phi = [], climb = (y) => f.slope(y) / D(y);
  let rise = 0;
  for (let k = 0; k < 6; k++) {
    const h = (ends[k + 1] - ends[k]) / cells;
    for (let i = 0; i < cells; i++) {
      const from = ends[k] + i * h;
      phi.push(rise + h / 2 * climb(from + h / 4));
      rise = phi.at(-1) + h / 2 * climb(from + 3 * h / 4);
      x.push(from + h / 2);
      width.push(h);
    }
  }
  const top = Math.max(...phi.slice(cells, 5 * cells)), bottom = Math.min(...phi);
  const mass = x.map((y, i) => width[i] * Math.exp(bottom - phi[i]) / D(y));  // of the speed density
  const scale = x.map((y, i) => y > a && y < b ? width[i] * Math.exp(phi[i] - top) : 0);
  const sums = (v) => { let sum = 0; return v.map((y) => (sum += y) - y / 2); };
  const reversed = (v) => [...v].reverse();
  const below = sums(mass), above = reversed(sums(reversed(mass)));
  const ahead = reversed(sums(reversed(scale)));
  const dot = (u, v) => u.reduce((sum, y, i) => sum + y * v[i], 0);
  const rest = mass.map((m, i) => (oneWay ? ahead[i] : 1) * m), all = rest.reduce((u, v) => u + v);
  return {
    x,
    density: rest.map((m, i) => m / all / width[i]),
    log: [below, above].map((side) => Math.log(dot(scale, side)) + top - bottom),
  };
}

/** The share of walkers in the flat valley, of the two logarithms of the mean times. */
const flatShare = ([sharp, flat]) => 1 / (1 + Math.exp(sharp - flat));

globalThis.escapeLab = { formulas, Normals, Walk, truth, flatShare };

// --- what a reader sees ------------------------------------------------------------------------
const BINS = 110, SPAN = [-0.75, 0.85], HIGH = 0.115, LIFT = 26, BUDGET = 7;  // milliseconds a frame
const raised = (n) => `10${String(n).replace(/./g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)])}`;
const grouped = (v) => v.toLocaleString("en", { useGrouping: v >= 1e4 });  // as on all pages
const short = (v) => !Number.isFinite(v) ? "–" : v < 1e6
  ? grouped(Number(v.toPrecision(3)))
  : `${(v / 10 ** Math.floor(Math.log10(v))).toFixed(1)} × ${raised(Math.floor(Math.log10(v)))}`;

class Lab {
  constructor(box) {
    const part = (name) => box.querySelector(`.lab-${name}`);
    this.box = box;
    this.fields = [...box.querySelectorAll("input[type=range]")];
    this.radios = [...box.querySelectorAll("input[type=radio]")];
    this.oneWay = box.dataset.valleys === "one";
    for (const name of ["run", "again", "status", "numbers", "places", "times", "shares"]) {
      this[name] = part(name);
    }
    this.seed = 1;
    this.wanted = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    for (const field of this.fields) field.oninput = () => this.restart();
    for (const field of this.radios) field.onchange = () => this.restart();
    this.run.onclick = () => { this.wanted = !this.wanted; this.wake(); this.tell(); };
    this.again.onclick = () => { this.seed++; this.restart(); };
    document.querySelectorAll("button[data-lab]").forEach((button) => {
      button.onclick = () => { this.adopt(button.dataset.lab); this.box.scrollIntoView({ block: "nearest" }); };
    });
    new IntersectionObserver(([entry]) => { this.seen = entry.isIntersecting; this.wake(); }).observe(box);
    new ResizeObserver(() => this.fit()).observe(box);
    new MutationObserver(() => this.fit()).observe(
      document.documentElement, { attributeFilter: ["data-theme"] });
    document.addEventListener("visibilitychange", () => this.wake());
    this.adopt(box.dataset.share === undefined ? "" : location.hash.slice(1));
  }

  /** Take settings from a text such as `batchSize=10&noise=white`; what it lacks stays. */
  adopt(text) {
    const given = new URLSearchParams(text);
    for (const field of this.fields) if (given.has(field.name)) field.value = given.get(field.name);
    for (const field of this.radios) if (given.has("noise")) field.checked = field.value === given.get("noise");
    this.restart();
  }

  restart() {
    const set = {};
    for (const field of this.fields) {
      set[field.name] = Number(field.value);
      field.parentNode.querySelector("output").textContent = field.value;
    }
    const noise = this.radios.find((field) => field.checked).value;
    this.pace = set.pace;
    this.eta = set.learningRate;
    this.f = formulas({ ...JSON.parse(this.box.dataset.fixed), ...set });
    this.walk = new Walk(this.f, { noise, oneWay: this.oneWay, seed: this.seed });
    this.theory = [this.f[`${noise}LogSharp`], this.f[`${noise}LogFlat`]];
    this.truth = truth(this.f, { noise, oneWay: this.oneWay });
    this.bars = new Float64Array(BINS);
    Object.assign(this, { history: [], gap: 1, weight: 0, said: 0, shown: 0, set, noise });
    if (this.box.dataset.share !== undefined && (this.touched ?? location.hash)) {
      history.replaceState(null, "", `#${new URLSearchParams({ ...set, noise })}`);
    }
    this.touched = true;
    this.record();
    this.fit();
    this.wake();
  }

  wake() {
    this.run.textContent = this.wanted ? "Pause" : "Run";
    if (this.wanted && this.seen && !document.hidden) {
      this.frame ??= requestAnimationFrame((now) => this.tick(now));
    }
  }

  tick(now) {
    this.frame = undefined;
    const until = performance.now() + BUDGET;
    for (let n = 0; n < this.pace && performance.now() < until; n += 2) {
      this.walk.advance(Math.min(2, this.pace - n));
      this.record();
    }
    this.drawPlaces();
    if (now - this.shown > 250) { this.shown = now; this.drawCurves(); this.write(); }
    this.said ||= now - 8500;  // the first words after a moment, then every ten seconds
    if (now - this.said > 10000) { this.said = now; this.tell(); }
    this.wake();
  }

  /** Keep what was counted so far, at no more than 200 times. */
  record() {
    const { steps, escapes, waited, inFlat, walkers } = this.walk;
    if (steps < (this.history.length ? this.history.at(-1).steps + this.gap : 0)) return;
    this.history.push({ steps, escapes: [...escapes], waited: [...waited], share: inFlat / walkers });
    if (this.history.length > 200) {
      this.history = this.history.filter((_, i) => i % 2 === 0);
      this.gap *= 2;
    }
  }

  /** The counted mean time and its standard error: time waited over escapes, n of them. */
  counted({ escapes, waited }, side) {
    const n = escapes[side];
    return n ? { n, time: this.eta * waited[side] / n, error: 1 / Math.sqrt(n) } : { n };
  }

  /** Match canvases to their size on the page and take the colours of the theme. */
  fit() {
    const style = getComputedStyle(this.box);
    this.colour = (name) => style.getPropertyValue(`--ddt-${name}`).trim();
    this.face = `13px ${style.fontFamily}`;
    const sharpness = Math.min(devicePixelRatio, 2);
    for (const canvas of [this.places, this.times, this.shares]) {
      const { clientWidth: width, clientHeight: height } = canvas;
      canvas.width = width * sharpness;
      canvas.height = height * sharpness;
      canvas.pen = canvas.getContext("2d");
      canvas.pen.scale(sharpness, sharpness);
      canvas.pen.font = this.face;
    }
    this.drawPlaces();
    this.drawCurves();
    this.write();
  }

  line(pen, points, colour, width = 1.3, dashes = []) {
    pen.beginPath();
    points.forEach(([x, y], i) => i ? pen.lineTo(x, y) : pen.moveTo(x, y));
    pen.strokeStyle = this.colour(colour);
    pen.lineWidth = width;
    pen.setLineDash(dashes);
    pen.stroke();
  }

  text(pen, words, x, y, colour = "ink", align = "left", halo = "") {
    pen.textAlign = align;
    if (halo) {
      pen.strokeStyle = this.colour(halo);
      pen.lineWidth = 4;
      pen.setLineDash([]);
      pen.strokeText(words, x, y);
    }
    pen.fillStyle = this.colour(colour);
    pen.fillText(words, x, y);
  }

  /** Above, the loss with its walkers; below, where they are against the resting density. */
  drawPlaces() {
    const { pen, clientWidth: wide, clientHeight: high } = this.places, { places, flat } = this.walk;
    const middle = Math.round(high * 0.56), base = high - 20, unit = wide / (SPAN[1] - SPAN[0]);
    const across = (x) => (x - SPAN[0]) * unit, up = (loss) => middle - 8 - loss / HIGH * (middle - 8);
    pen.clearRect(0, 0, wide, high);
    for (const [x, valley] of [[this.walk.left, "sharp"], [this.walk.right, "flat"]]) {
      this.line(pen, [[across(x), 18], [across(x), base]], "faint", 1, [3, 4]);
      this.text(pen, valley, across(x), 12, valley, "center");
    }
    const counts = new Float64Array(BINS), bin = BINS / (SPAN[1] - SPAN[0]);
    for (const side of [0, 1]) {
      pen.fillStyle = this.colour(side ? "flat" : "sharp");
      for (let i = 0; i < places.length; i++) {
        if (flat[i] !== side) continue;
        const x = places[i], k = Math.floor((x - SPAN[0]) * bin);
        if (k >= 0 && k < BINS) counts[k]++;
        pen.fillRect(across(x), up(this.f.loss(x)) - 3 - (i * 0.618034 % 1) * LIFT, 1.5, 1.5);
      }
    }
    const curve = Array.from({ length: 161 }, (_, i) => SPAN[0] + i / 160 * (SPAN[1] - SPAN[0]));
    this.line(pen, curve.map((x) => [across(x), up(this.f.loss(x))]), "ink", 1.6);
    this.weight = Math.min(this.weight + 1, 12);  // the bars average the last frames
    const peak = 1.15 * Math.max(...this.truth.density), root = (v) => base - Math.sqrt(v / peak) * (base - middle - 12);
    for (let k = 0; k < BINS; k++) {
      this.bars[k] += (counts[k] / this.walk.walkers * bin - this.bars[k]) / this.weight;
      const x = SPAN[0] + k / bin, y = Math.max(root(this.bars[k]), middle);
      pen.fillStyle = this.colour(x < 0 ? "sharp" : "flat");
      pen.globalAlpha = 0.45;
      pen.fillRect(across(x), y, wide / BINS - 1, base - y);
    }
    pen.globalAlpha = 1;
    this.line(pen, [[0, base], [wide, base]], "muted", 0.8);
    this.line(pen, this.truth.x.map((x, i) => [across(x), root(this.truth.density[i])]), "theory", 1.2);
    this.text(pen, "loss L", 4, 30, "muted");
    this.text(pen, "walkers (√ scale)", 4, middle + 14, "muted");
    for (const x of [-0.5, 0, 0.5]) this.text(pen, `${x}`.replace("-", "−"), across(x), high - 5, "muted", "center");
    this.text(pen, "place θ", wide - 4, high - 5, "muted", "right");
  }

  drawCurves() {
    const now = Math.max(this.walk.steps, 1), sides = this.oneWay ? [0] : [0, 1];
    const every = Math.ceil(this.history.length / 18), last = this.history.length - 1;
    const some = this.history.filter((_, i) => (last - i) % every === 0);
    const logs = sides.flatMap((k) => [this.theory[k], this.truth.log[k]]).map((v) => v / Math.LN10);
    const least = Math.min(...logs), most = Math.max(...logs), room = 0.4 + 0.12 * (most - least);
    const low = Math.floor(least - room), top = Math.ceil(most + room);
    this.axes(this.times, "mean time to leave", low, top, raised, (across, up, pen) => {
      for (const k of sides) {
        const valley = k ? "flat" : "sharp", level = up(this.theory[k] / Math.LN10);
        this.line(pen, [[across(0), level], [across(1), level]], "theory", 1.2);
        this.line(pen, [0, 1].map((x) => [across(x), up(this.truth.log[k] / Math.LN10)]), "theory", 1, [2, 3]);
        this.points(pen, some.flatMap((past) => {
          const { n, time, error } = this.counted(past, k);
          return n < 5 ? [] : [[across(past.steps / now), up(Math.log10(time)), error / Math.LN10 * (up(0) - up(1))]];
        }), valley);
        this.text(pen, valley, across(1), level + (k ? -10 : 18), valley, "right", "ground");
      }
    });
    if (this.oneWay) return;
    const to = flatShare(this.theory), rate = this.theory.reduce((sum, v) => sum + Math.exp(-v), 0);
    this.axes(this.shares, "share in the flat valley", 0, 1, (v) => `${v}`, (across, up, pen) => {
      const model = (x) => to * -Math.expm1(-rate * x * now * this.eta);
      this.line(pen, Array.from({ length: 101 }, (_, i) => [across(i / 100), up(model(i / 100))]), "theory", 1.2);
      this.points(pen, some.map((past) => [across(past.steps / now), up(past.share), 0]), "measurement");
    });
  }

  points(pen, list, colour) {
    pen.fillStyle = this.colour(colour);
    for (const [x, y, half] of list) {
      this.line(pen, [[x, y - half], [x, y + half]], colour, 1.4);
      pen.beginPath();
      pen.arc(x, y, 2.6, 0, 7);
      pen.fill();
    }
  }

  axes(canvas, title, low, top, name, draw) {
    const { pen, clientWidth: wide, clientHeight: high } = canvas;
    if (!wide) return;
    const across = (x) => 34 + x * (wide - 44), up = (v) => high - 22 - (v - low) / (top - low) * (high - 46);
    pen.clearRect(0, 0, wide, high);
    this.text(pen, title, 2, 12);
    for (let v = low; v <= top; v += Math.max(1, Math.round((top - low) / 4))) {
      this.line(pen, [[across(0), up(v)], [across(1), up(v)]], "faint", 0.6);
      this.text(pen, name(v), 28, up(v) + 4, "muted", "right");
    }
    this.text(pen, "0", across(0), high - 6, "muted");
    this.text(pen, `t = ${short(this.walk.steps * this.eta)}`, across(1), high - 6, "muted", "right");
    draw(across, up, pen);
  }

  /** The table of numbers. */
  write() {
    const cells = this.numbers.querySelectorAll("td"), rows = this.oneWay ? [0] : [0, 1];
    const now = { ...this.walk };
    for (const k of rows) {
      const { n, time, error } = this.counted(now, k);
      cells[3 * k].textContent = short(Math.exp(this.theory[k]));
      cells[3 * k + 1].textContent = short(Math.exp(this.truth.log[k]));
      cells[3 * k + 2].textContent = n ? `${short(time)} ± ${(100 * error).toPrecision(2)} %` : "nobody yet";
    }
  }

  /** Say in words what is seen: for a screen reader, and for everybody about the limits. */
  tell() {
    const told = (k, valley) => {
      const { n, time, error } = this.counted(this.walk, k);
      const found = n ? `was left ${grouped(n)} times, after `
        + `${short(time)} ± ${(100 * error).toPrecision(2)} %` : "has not been left yet";
      return `The ${valley} valley ${found}; theory says ${short(Math.exp(this.theory[k]))}. `;
    };
    this.status.textContent = `${this.wanted ? "Running" : "Paused"} at t = ${short(this.walk.steps * this.eta)}. `
      + told(0, "sharp") + (this.oneWay ? "" : told(1, "flat")) + this.limits();
  }

  /** Where the theory is asked for more than it promises. */
  limits() {
    const { set, truth, theory } = this, bend = Math.max(set.sharp, this.f.bend(0) * -1);
    const off = Math.max(...truth.log.map((v, k) => Math.abs(v - theory[k])));
    return (off > 0.2 ? `Low barrier: theory and exact time differ by a factor of ${Math.exp(off).toFixed(1)}. ` : "")
      + (set.learningRate * bend > 0.25 ? "Long step: the walk is not its diffusion." : "");
  }
}

if (typeof document !== "undefined") {
  addEventListener("load", () => document.querySelectorAll(".escape-lab").forEach((box) => new Lab(box)));
}
