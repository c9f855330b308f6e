// A response curve as SVG: band, line, data points, the range seen, marks, and a readout under the pointer or by arrow keys.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 230;
const EDGE = { left: 52, right: 14, top: 12, bottom: 40 };
const SHAPES = { today: "M0-9A9 9 0 1 1 0 9A9 9 0 1 1 0-9Z", mine: "M0-8L8 6H-8Z", best: "M-6-6H6V6H-6Z" };
let charts = 0;

function drawn(name, attributes = {}, ...inside) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

// Round numbers between two ends, about so many of them.
export function ticks(low, high, wanted) {
  const rough = (high - low) / Math.max(wanted, 1);
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((x) => x * power).find((x) => x >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// The value of a curve at a place between its points; null outside of them.
export function between(xs, ys, x) {
  if (!(x >= xs[0] && x <= xs[xs.length - 1])) return null;
  let i = 1;
  while (i < xs.length - 1 && xs[i] < x) i++;
  const [a, b] = [ys[i - 1], ys[i]];
  if (a === null || b === null) return a === null ? b : a;
  return a + (b - a) * (xs[i] === xs[i - 1] ? 0 : (x - xs[i - 1]) / (xs[i] - xs[i - 1]));
}

export class Chart {
  // `figure` is filled; `say` gives the sentence for an amount.
  constructor(figure, say) {
    this.say = say;
    this.id = `chart-${++charts}`;
    this.marks = {};
    this.title = drawn("title", { id: `${this.id}-title` });
    this.desc = drawn("desc", { id: `${this.id}-desc` });
    this.back = drawn("g");
    this.front = drawn("g");
    this.cross = drawn("line", { class: "cross", visibility: "hidden" });
    this.svg = drawn(
      "svg",
      { class: "chart", role: "img", tabindex: "0", height: HEIGHT, "aria-labelledby": `${this.id}-title ${this.id}-desc`, "aria-describedby": `${this.id}-said` },
      this.title, this.desc, this.back, this.cross, this.front,
    );
    this.said = document.createElement("p");
    Object.assign(this.said, { id: `${this.id}-said`, className: "readout" });
    this.said.setAttribute("aria-live", "polite");
    figure.append(this.svg, this.said);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.look(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("blur", () => this.look(null));
    new ResizeObserver(() => this.draw()).observe(figure);
    this.figure = figure;
    this.look(null);
  }

  show(data) {
    this.data = data;
    this.title.textContent = data.title;
    this.desc.textContent = data.desc;
    const { spend, sales, low, high, points } = data;
    const ys = [0, ...sales, ...low, ...high].filter((y) => y !== null);
    const seen = points.map(([, y]) => y).sort((a, b) => a - b);
    const cut = Math.floor(seen.length / 50); // a few far points would flatten the curve
    ys.push(...seen.slice(cut, seen.length - cut));
    this.xs = [0, spend[spend.length - 1]];
    const [least, most] = [Math.min(...ys), Math.max(...ys)];
    const room = (most - least || 1) * 0.05;
    this.ys = [least < 0 ? least - room : 0, most + room];
    this.width = 0;
    this.draw();
  }

  x(value) {
    return EDGE.left + ((value - this.xs[0]) / (this.xs[1] - this.xs[0])) * (this.width - EDGE.left - EDGE.right);
  }

  y(value) {
    return HEIGHT - EDGE.bottom - ((value - this.ys[0]) / (this.ys[1] - this.ys[0])) * (HEIGHT - EDGE.top - EDGE.bottom);
  }

  draw() {
    const width = Math.floor(this.figure.clientWidth);
    if (!this.data || width < 80 || width === this.width) return;
    this.width = width;
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const { spend, sales, low, high, points, seen, number, xLabel, yLabel } = this.data;
    const [left, right, top, bottom] = [EDGE.left, width - EDGE.right, EDGE.top, HEIGHT - EDGE.bottom];
    const ends = seen.map((s) => Math.min(Math.max(this.x(s), left), right));
    const parts = [drawn("rect", { class: "seen", x: ends[0], y: top, width: Math.max(ends[1] - ends[0], 1), height: bottom - top })];
    for (const t of ticks(...this.ys, 4)) {
      parts.push(drawn("line", { class: "grid", x1: left, x2: right, y1: this.y(t), y2: this.y(t) }));
      parts.push(drawn("text", { class: "tick", x: left - 6, y: this.y(t) + 4, "text-anchor": "end" }, number(t)));
    }
    for (const t of ticks(...this.xs, Math.max(2, Math.floor((right - left) / 80)))) {
      parts.push(drawn("line", { class: "axis", x1: this.x(t), x2: this.x(t), y1: bottom, y2: bottom + 4 }));
      parts.push(drawn("text", { class: "tick", x: this.x(t), y: bottom + 17, "text-anchor": "middle" }, number(t)));
    }
    for (const y of new Set([bottom, this.y(0)])) parts.push(drawn("line", { class: "axis", x1: left, x2: right, y1: y, y2: y }));
    parts.push(drawn("text", { class: "label", x: right, y: HEIGHT - 6, "text-anchor": "end" }, xLabel));
    parts.push(drawn("text", { class: "label", x: left + 6, y: top + 10 }, yLabel));
    const place = (x, y) => `${this.x(x).toFixed(1)} ${this.y(y).toFixed(1)}`;
    const known = spend.map((_, i) => i).filter((i) => low[i] !== null && high[i] !== null);
    if (known.length > 1) {
      const edge = [...known.map((i) => place(spend[i], high[i])), ...known.reverse().map((i) => place(spend[i], low[i]))];
      parts.push(drawn("path", { class: "band", d: `M${edge.join("L")}Z` }));
    }
    for (const [x, y] of points) {
      if (x >= this.xs[0] && x <= this.xs[1] && y >= this.ys[0] && y <= this.ys[1]) {
        parts.push(drawn("circle", { class: "point", cx: this.x(x).toFixed(1), cy: this.y(y).toFixed(1), r: 2 }));
      }
    }
    // the curve is solid within the range seen, and dashed where it is not known
    const pieces = [[this.xs[0], seen[0], "guess"], [Math.max(seen[0], 0), seen[1], "curve"], [seen[1], this.xs[1], "guess"]];
    for (const [from, to, kind] of pieces) {
      if (!(to > from)) continue;
      const inside = spend.map((x, i) => [x, sales[i]]).filter(([x]) => x > from && x < to);
      const line = [[from, between(spend, sales, from)], ...inside, [to, between(spend, sales, Math.min(to, this.xs[1]))]];
      parts.push(drawn("path", { class: kind, d: `M${line.filter(([, y]) => y !== null).map(([x, y]) => place(x, y)).join("L")}` }));
    }
    this.back.replaceChildren(...parts);
    this.marked = "";
    this.cross.setAttribute("y1", top);
    this.cross.setAttribute("y2", bottom);
    this.mark(this.marks);
  }

  // Where today's, the user's and the best plan's amount lie; beyond the edge a mark stays at the edge.
  mark(marks) {
    this.marks = marks;
    const places = JSON.stringify(marks);
    if (!this.data || !this.width || places === this.marked) return;
    this.marked = places;
    const made = [];
    for (const kind of ["today", "best", "mine"]) {
      const spent = marks[kind];
      if (spent === null || spent === undefined) continue;
      const x = Math.min(Math.max(spent, this.xs[0]), this.xs[1]);
      const [px, py] = [this.x(x), this.y(between(this.data.spend, this.data.sales, x) ?? 0)];
      made.push(drawn("line", { class: `stem ${kind}`, x1: px, x2: px, y1: py, y2: HEIGHT - EDGE.bottom }));
      made.push(drawn("path", { class: `mark ${kind}`, d: SHAPES[kind], transform: `translate(${px.toFixed(1)} ${py.toFixed(1)})` }));
    }
    this.front.replaceChildren(...made);
  }

  point(event) {
    if (!this.width) return;
    const at = event.clientX - this.svg.getBoundingClientRect().left - EDGE.left;
    const share = at / (this.width - EDGE.left - EDGE.right);
    this.look(share < 0 || share > 1 ? null : this.xs[0] + share * (this.xs[1] - this.xs[0]));
  }

  key(event) {
    const step = (this.xs[1] - this.xs[0]) / 40;
    const now = this.at ?? this.marks.mine ?? 0;
    const to = { ArrowLeft: now - step, ArrowRight: now + step, Home: this.xs[0], End: this.xs[1], Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.look(to === null ? null : Math.min(Math.max(to, this.xs[0]), this.xs[1]));
  }

  look(at) {
    this.at = at;
    this.cross.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at !== null) for (const end of ["x1", "x2"]) this.cross.setAttribute(end, this.x(at));
    this.said.textContent = at === null ? "" : this.say(at);
  }
}
