// A response curve by Chart.js: band, line, data points, the range seen, marks, and a readout under the pointer or by arrow keys.

const EDGE = { left: 52, right: 14 }; // the slider under a chart has the same
const MARKS = { today: ["circle", 7], best: ["rect", 8], mine: ["triangle", 9] }; // from the back to the front
const MOST_PIXELS = 2; // each way for one of the page's: more cannot be told apart, and takes longer to draw
const BARE = { borderWidth: 0, pointRadius: 0, fill: false };

// The value of a curve at a place between its points; null outside of them.
export function between(xs, ys, x) {
  if (!(x >= xs[0] && x <= xs[xs.length - 1])) return null;
  let i = 1;
  while (i < xs.length - 1 && xs[i] < x) i++;
  const [a, b] = [ys[i - 1], ys[i]];
  if (a === null || b === null) return a === null ? b : a;
  return a + (b - a) * (xs[i] === xs[i - 1] ? 0 : (x - xs[i - 1]) / (xs[i] - xs[i - 1]));
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const places = (xs, ys) => xs.map((x, i) => ({ x, y: ys[i] })).filter(({ y }) => y !== null);
const held = (x, [low, high]) => Math.min(Math.max(x, low), high);
let charts = 0;

// Figures are asked for while the library is still being read.
const library = new Promise((resolve) => {
  document.head.append(Object.assign(document.createElement("script"), { src: "/planner/chartjs.js", onload: resolve }));
});

export class CurveChart {
  // `figure` is filled; `say` gives the sentence for an amount.
  constructor(figure, say) {
    this.say = say;
    this.marks = {};
    const id = `chart-${++charts}`;
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-describedby", `${id}-desc ${id}-said`);
    this.desc = Object.assign(document.createElement("p"), { id: `${id}-desc`, className: "unseen" });
    this.said = Object.assign(document.createElement("p"), { id: `${id}-said`, className: "readout" });
    this.said.setAttribute("aria-live", "polite");
    const plot = Object.assign(document.createElement("div"), { className: "plot" });
    plot.append(this.canvas);
    figure.append(plot, this.desc, this.said);
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.look(null));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => this.look(null));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.data && this.show(this.data));
    this.look(null);
  }

  show(data) {
    this.data = data;
    this.canvas.setAttribute("aria-label", data.title);
    this.desc.textContent = data.desc;
    this.xs = [0, data.spend[data.spend.length - 1]];
    this.ys = reach(data);
    library.then(() => this.build());
  }

  build() {
    this.chart?.destroy();
    this.inks = Object.fromEntries([...Object.keys(MARKS), "ink", "back"].map((name) => [name, colour(name)]));
    const marks = { id: "marks", afterDatasetsDraw: (chart) => this.over(chart) };
    this.chart = new Chart(this.canvas, { type: "line", data: { datasets: this.drawn() }, options: this.options(), plugins: [marks] });
  }

  // What is drawn, from the back to the front, the reverse of Chart.js's order.
  drawn() {
    const { spend, sales, low, high, points, seen } = this.data;
    const ends = seen.map((s) => held(s, this.xs));
    const xs = [...new Set([...spend, ...ends])].sort((a, b) => a - b);
    const known = (x) => x >= ends[0] && x <= ends[1];
    const curve = colour("curve");
    return [
      { label: "seen", data: places(ends, [this.ys[1], this.ys[1]]), ...BARE, fill: "start", backgroundColor: colour("seen") },
      { label: "low", data: places(spend, low), ...BARE },
      { label: "high", data: places(spend, high), ...BARE, fill: "+1", backgroundColor: colour("band") },
      { label: "rows", data: points.map(([x, y]) => ({ x, y })), ...BARE, showLine: false, pointRadius: 2, pointBackgroundColor: colour("dot") },
      {
        label: "curve",
        data: places(xs, xs.map((x) => between(spend, sales, x))),
        ...BARE,
        borderWidth: 2.5,
        borderColor: curve,
        segment: { borderDash: ({ p0, p1 }) => (known(p0.parsed.x) && known(p1.parsed.x) ? [] : [4, 4]) }, // where it is not known
      },
    ].reverse();
  }

  options() {
    const { number, xLabel, yLabel } = this.data;
    const font = { size: 12, family: getComputedStyle(this.canvas).fontFamily, weight: "normal" };
    const [soft, ink, line] = ["soft", "ink", "line"].map(colour);
    const ticks = { color: soft, font, callback: number, maxRotation: 0 };
    const ends = ([min, max]) => ({ type: "linear", min, max });
    return {
      animation: false,
      devicePixelRatio: Math.min(devicePixelRatio, MOST_PIXELS),
      events: [],
      parsing: false,
      normalized: true,
      maintainAspectRatio: false,
      layout: { autoPadding: false, padding: { right: EDGE.right } },
      plugins: { legend: { display: false }, tooltip: { enabled: false }, title: { display: true, text: yLabel, align: "start", color: ink, font, padding: { bottom: 6 } } },
      scales: {
        x: {
          ...ends(this.xs),
          ticks: { ...ticks, includeBounds: false, maxTicksLimit: 6 },
          border: { color: soft },
          grid: { drawOnChartArea: false, color: soft, tickLength: 4 },
          title: { display: true, text: xLabel, align: "end", color: ink, font, padding: 0 },
        },
        y: {
          ...ends(this.ys),
          afterFit: (scale) => { scale.width = EDGE.left; },
          ticks: { ...ticks, includeBounds: false, maxTicksLimit: 6 },
          border: { display: false },
          grid: { color: ({ tick }) => (tick?.value === 0 ? soft : line), drawTicks: false },
        },
      },
    };
  }

  // Where today's, the user's and the best plan's amount lie; beyond the edge a mark stays at the edge.
  mark(marks) {
    if (Object.keys(MARKS).every((kind) => marks[kind] === this.marks[kind])) return;
    this.marks = marks;
    this.chart?.draw();
  }

  // Marks and cross, over the rest: they move without a new layout of all that lies below.
  over({ ctx, scales: { x: across, y: up }, chartArea: { top, bottom } }) {
    const { ink, back, ...inks } = this.inks;
    ctx.save();
    for (const [kind, [pointStyle, radius]] of Object.entries(MARKS)) {
      const amount = held(this.marks[kind] ?? NaN, this.xs);
      if (Number.isNaN(amount)) continue;
      const [x, y] = [across.getPixelForValue(amount), up.getPixelForValue(between(this.data.spend, this.data.sales, amount) ?? 0)];
      upright(ctx, x, bottom, y, inks[kind], 1.5, [3, 3]);
      const open = kind === "today";
      const borderWidth = open ? 2.5 : 1.5;
      Object.assign(ctx, { fillStyle: open ? back : inks[kind], strokeStyle: open ? inks[kind] : back, lineWidth: borderWidth });
      Chart.helpers.drawPoint(ctx, { pointStyle, radius, borderWidth }, x, y);
    }
    if (this.at !== null) upright(ctx, across.getPixelForValue(this.at), bottom, top, ink, 1, [2, 3]);
    ctx.restore();
  }

  point(event) {
    if (!this.chart) return;
    const x = this.chart.scales.x.getValueForPixel(event.offsetX);
    this.look(x === held(x, this.xs) ? x : null);
  }

  key(event) {
    if (!this.chart) return;
    const step = (this.xs[1] - this.xs[0]) / 40;
    const now = this.at ?? this.marks.mine ?? 0;
    const to = { ArrowLeft: now - step, ArrowRight: now + step, Home: this.xs[0], End: this.xs[1], Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.look(to === null ? null : held(to, this.xs));
  }

  look(at) {
    this.at = at;
    this.said.textContent = at === null ? "" : this.say(at);
    this.chart?.draw();
  }
}

// A dashed line straight up, from one height to another.
function upright(ctx, x, from, to, strokeStyle, lineWidth, dash) {
  Object.assign(ctx, { strokeStyle, lineWidth });
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(x, from);
  ctx.lineTo(x, to);
  ctx.stroke();
  ctx.setLineDash([]);
}

// The sales that a chart reaches from and to.
function reach({ sales, low, high, points }) {
  const ys = [0, ...sales, ...low, ...high].filter((y) => y !== null);
  const seen = points.map(([, y]) => y).sort((a, b) => a - b);
  const cut = Math.floor(seen.length / 50); // a few far points would flatten the curve
  ys.push(...seen.slice(cut, seen.length - cut));
  const [least, most] = [Math.min(...ys), Math.max(...ys)];
  const room = (most - least || 1) * 0.05;
  return [least < 0 ? least - room : 0, most + room];
}
