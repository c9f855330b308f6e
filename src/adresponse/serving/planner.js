// The planner: response curves, an amount for each channel, what it brings, the best plan beside it, and scenarios.

import { CurveChart, between } from "./chart.js";
import { LEVELS, MOST_SCENARIOS, freeName, fresh, fromHash, toCsv, toHash } from "./state.js";

const POINTS = 61;
const PATIENCE = { best: 120, curves: 250, returns: 500, address: 300, speech: 700 }; // milliseconds without a change
const AGAIN = 2000; // milliseconds until a server that was away is asked again
const MOST = 1e15; // as the server has it
const at = (id) => document.getElementById(id);
const KINDS = { today: "Today", mine: "Yours", best: "Best" };
const headers = {};
let curves; // what /curves said
let servedBy; // the version that said it
let foreign = ""; // what a plan had for another model
let state;
let cards = new Map();
let plans = { today: null, mine: null, best: null };
let bestProblem = "";

// --- words

const format = (more) => {
  const [plain, signed] = ["auto", "exceptZero"].map((signDisplay) => new Intl.NumberFormat(undefined, { ...more, signDisplay }));
  return (x, sign) => (sign ? signed : plain).format(x).replaceAll("-", "\u2212"); // as the sentences have it; no line ends after it
};
const FORMATS = [0, 1, 2].map((n) => format({ maximumFractionDigits: n }));
const SMALL = format({ maximumSignificantDigits: 4 });
const TINY = format({ maximumSignificantDigits: 4, notation: "scientific" });
const COMPACT = format({ maximumSignificantDigits: 4, notation: "compact" });
const PERCENT = format({ style: "percent", maximumFractionDigits: 1 });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });

function figure(x, signed = false) {
  if (x === null || x === undefined) return "–";
  const size = Math.abs(x);
  if (size >= 1e6) return COMPACT(x, signed); // written out, three columns of them do not fit
  if (size > 0 && size < 1) return (size < 1e-3 ? TINY : SMALL)(x, signed);
  return FORMATS[size >= 1000 ? 0 : size >= 100 ? 1 : 2](x, signed);
}

const tick = (x) => (Math.abs(x) >= 10000 ? COMPACT(x) : figure(x));
const span = (low, high, signed) => (low === null || high === null || low === undefined ? "" : `${figure(low, signed)} to ${figure(high, signed)}`);
const gains = (p) => (p.gain_low === p.gain_high ? "" : span(p.gain_low, p.gain_high, true)); // today's own plan gains 0 for sure
const within = (unit) => (unit ? ` ${unit}` : "");
const inUnit = (unit) => (unit ? ` in ${unit}` : "");
const count = (n) => `${n} ${n === 1 ? "period" : "periods"}`;
const shown = (x) => (x === null ? "" : String(Number(x.toPrecision(9))));

// A name that runs from right to left is set apart, so that the figures after it stay after it.
const RIGHT_TO_LEFT = /[\p{Script=Hebrew}\p{Script=Arabic}]+([ _-]+[\p{Script=Hebrew}\p{Script=Arabic}]+)*/gu;
const apart = (text) => text.replace(RIGHT_TO_LEFT, "\u2067$&\u2069");

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function problem(text) {
  at("problem").textContent = apart(text || foreign);
  at("problem").hidden = !at("problem").textContent;
}

// --- asking the server: one request of a kind under way, and of those that wait the newest

// Asked again until the server is there and has room.
async function ask(path, body) {
  for (let waited = false; ; waited = true) {
    const known = servedBy;
    const answer = await once(path, body);
    if (answer.status !== 0 && answer.status !== 503) {
      if (waited) problem("");
      if (known === servedBy) follow(answer.version); // else it was asked before the version changed
      return answer;
    }
    problem(answer.value.message);
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

async function once(path, body) {
  try {
    const answer = await fetch(path, body === undefined ? { headers } : {
      method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    return { status: answer.status, value: await answer.json(), version: answer.headers.get("X-Model-Version") };
  } catch (error) {
    return { status: 0, value: { message: "The server does not answer." } };
  }
}

class Newest {
  constructor(run) {
    this.run = run;
    this.busy = false;
  }

  async want(asked) {
    this.next = asked;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.next !== undefined) {
        const now = this.next;
        this.next = undefined;
        await this.run(now);
      }
    } finally {
      this.busy = false;
    }
  }
}

// What runs once nothing has wanted it for a while; `hold` puts off what is wanted already.
function later(wait, run) {
  let timer = 0;
  const want = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = 0;
      run();
    }, wait);
  };
  want.hold = () => { if (timer) want(); };
  return want;
}

// What a plan is asked with, of the page's state or of a scenario.
const given = ({ horizon, level, market, margin, tail }) => ({ horizon, level, ...(market === null ? {} : { market }), ...(margin === null ? {} : { margin }), ...(tail ? { tail } : {}) });
const told = () => given(state);
const same = (asked) => JSON.stringify(asked) === JSON.stringify(told());
const names = () => curves.channels.map((c) => c.name);
const total = () => names().reduce((sum, n) => sum + state.spend[n], 0);

const mine = new Newest(async ({ began, spend, asked }) => {
  const answer = await ask("/plan", { spend, ...asked });
  if (!same(asked)) return; // it was for other periods or another margin
  if (answer.status !== 200) {
    if (!starting) refused(answer);
    return;
  }
  problem("");
  plans.mine = answer.value;
  showPlans();
  if (began) performance.measure("answer", { start: began, end: performance.now(), detail: spend });
  if (mine.next === undefined) wantBest();
});

const best = new Newest(async (asked) => {
  const answer = await ask("/plan", asked);
  if (JSON.stringify(asked) !== JSON.stringify(bestWish())) return;
  plans.best = answer.status === 200 ? answer.value : null;
  bestProblem = answer.status === 200 ? "" : answer.value.message;
  showPlans();
});

const ofToday = new Newest(async (asked) => {
  const spend = Object.fromEntries(curves.channels.map((c) => [c.name, c.today]));
  const answer = await ask("/plan", { spend, ...asked });
  if (!same(asked) || answer.status !== 200) return;
  plans.today = answer.value;
  showPlans();
});

function refused(answer) {
  const unknown = answer.status === 401;
  problem(unknown ? (headers.Authorization ? "This is not the server's token." : "This server asks for a token.") : answer.value.message);
  at("token-form").hidden = !unknown;
}

function bestWish() {
  const bounds = {};
  for (const name of names()) {
    if (state.locked.includes(name)) bounds[name] = [state.spend[name], state.spend[name]];
    else if (state.bounds[name]) bounds[name] = state.bounds[name];
  }
  const free = state.goal === "profit" && state.margin !== null;
  return { ...told(), bounds, ...(free ? {} : { total: total() }), ...(state.beyond ? { beyond: true } : {}), ...(free && state.beyond ? { cap: Math.max(total(), curves.today_total) * 4 } : {}) };
}

const wantBest = later(PATIENCE.best, () => best.want(bestWish()));
const wantReturns = later(PATIENCE.returns, async () => {
  const asked = told();
  const answer = await ask(curvesPath(asked, true));
  if (answer.status !== 200 || !same(asked)) return;
  answer.value.channels.forEach((c) => cards.get(c.name)?.tell(c));
});
const keepAddress = later(PATIENCE.address, () => history.replaceState(null, "", toHash(state, names())));
const speak = later(PATIENCE.speech, () => { at("said").textContent = sentence(); });

// The server is asked at once; what is known here is shown with the next frame.
let frame = 0;
function changed(byHand = true) {
  mine.want({ began: mine.next?.began || (byHand ? performance.now() : 0), spend: { ...state.spend }, asked: told() });
  [wantBest, wantReturns].forEach((slow) => slow.hold()); // the server works on both for so long that the answer would be late
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    cards.forEach((card) => card.move());
    at("total").value = shown(total());
    keepAddress();
  });
}

// --- the model

function curvesPath(asked, returns, points = POINTS) {
  const query = new URLSearchParams({ ...asked, points, returns });
  if (!returns) query.delete("margin");
  return `/curves?${query}`;
}

async function load(asked, points) {
  const answer = await ask(curvesPath(asked, false, points));
  if (answer.status === 200) {
    problem("");
    at("token-form").hidden = true;
    servedBy = answer.version;
    return answer.value;
  }
  refused(answer);
  at("lead").textContent = answer.status === 404 ? "This model cannot be planned with; single rows can be asked." : "";
  if (answer.status === 401) at("token").focus();
  return null;
}

let starting = false;
async function start(hash = location.hash) {
  starting = true;
  const first = await load({ horizon: 1, level: 0.9 }, 2); // to read the address, only the channels count
  starting = false;
  if (!first) return;
  curves = first;
  adopt(hash);
  await reload();
}

// A new version may have other channels, other markets or no dates, so what is set is read anew, as an address is.
function follow(version) {
  if (version && servedBy && version !== servedBy && !starting) start(toHash(state, names()));
}

// The state that an address holds, else a fresh one with today's spend.
function adopt(hash) {
  const found = fromHash(hash, names(), curves.dated, curves.markets);
  state = found || fresh(curves.dated);
  const unknown = state.unknown || [];
  delete state.unknown;
  moved = false;
  foreign = unknown.length ? `The model has no ${unknown.join(", ")}: what was set for it is left out.` : "";
  problem("");
  for (const c of curves.channels) state.spend[c.name] ??= (c.today / curves.periods) * state.horizon;
  showSettings();
}

let moved = false; // to another market, which spends otherwise
function goToday() {
  for (const c of curves.channels) state.spend[c.name] = c.today;
  state.bounds = {};
}

const reloading = new Newest(async (asked) => {
  const found = await load(asked);
  if (!found || starting || reloading.next !== undefined) return;
  curves = found;
  if (moved) goToday();
  moved = false;
  plans = { today: null, mine: null, best: null };
  showModel();
  ofToday.want(told());
  changed(false);
  wantReturns();
  showScenarios();
});
const reload = () => reloading.want(told());
const reloadSoon = later(PATIENCE.curves, reload);

function showModel() {
  document.title = `Plan a budget: ${curves.model}`;
  at("lead").textContent = `${curves.model}, version ${curves.version}: ${curves.target_means || curves.target}${inUnit(curves.unit)}.`;
  document.querySelectorAll("[data-unit=money]").forEach((e) => { e.textContent = curves.money ? `(${curves.money})` : ""; });
  at("dates").textContent = curves.dated ? dates() : "The model has no dates: a plan is for one row.";
  if (cards.size !== curves.channels.length || !curves.channels.every((c) => cards.has(c.name))) {
    cards = new Map(curves.channels.map((c, i) => [c.name, new Card(c, i)]));
    at("channels").replaceChildren(...[...cards.values()].map((card) => card.box));
  }
  at("straight").textContent = !curves.channels.every((c) => c.straight) ? "" : curves.channels.length === 1
    ? "The curve is a straight line, so no amount is best of its own: what one more unit brings is all that can be said."
    : "All curves are straight lines, so no split is best of its own: the best plan fills the channel that brings most, up to its bound.";
  at("planner").hidden = false;
  curves.channels.forEach((c) => cards.get(c.name).show(c));
  at("planner").setAttribute("data-version", curves.version);
}

function dates() {
  const [first, last] = [curves.dates[0], curves.dates[curves.dates.length - 1]].map((d) => DATE.format(new Date(`${d}Z`)));
  return `${count(curves.periods)}: ${first === last ? first : `${first} to ${last}`}. All amounts are for all of them together.`;
}

function showSettings() {
  before = at("horizon").value = state.horizon;
  at("market").replaceChildren(new Option("average", ""), ...curves.markets.map((name) => new Option(name, name)));
  at("market").value = state.market ?? "";
  at("market-field").hidden = curves.markets.length < 2;
  at("margin").value = shown(state.margin);
  for (const id of ["horizon", "total", "margin"]) {
    complain(id, "");
    marking(at(id), false);
  }
  at("level").value = state.level;
  at("beyond").checked = state.beyond;
  at("tail").checked = state.tail;
  at("horizon-field").hidden = at("tail-field").hidden = !curves.dated;
  showGoal();
}

function showGoal() {
  const free = state.margin !== null;
  at("profit").disabled = !free;
  at("needs-margin").hidden = free;
  document.querySelectorAll("[name=goal]").forEach((g) => { g.checked = g.value === (free ? state.goal : "total"); });
}

// --- one channel

class Card {
  constructor(channel, i) {
    this.name = channel.name;
    this.box = element("article", undefined, "card");
    const head = element("h3", channel.name);
    head.id = `channel-${i}`;
    this.box.setAttribute("aria-labelledby", head.id);
    const means = [channel.means === channel.name ? "" : channel.means, channel.unit].filter(Boolean).join(", ");
    const drawing = element("div", undefined, "drawing");
    this.chart = new CurveChart(drawing, (x) => this.reading(x));
    this.slider = this.input("range", `amount-slider-${i}`, `${channel.name}: amount`);
    this.number = this.input("number", `amount-${i}`);
    const label = element("label", "Amount");
    label.htmlFor = this.number.id;
    label.append(element("span", ` for ${channel.name}`, "unseen"));
    this.unit = element("span", undefined, "unit");
    label.append(" ", this.unit);
    const lock = element("label", undefined, "check");
    this.lock = element("input");
    Object.assign(this.lock, { type: "checkbox", id: `lock-${i}` });
    lock.append(this.lock, " Locked", element("span", `: ${channel.name}`, "unseen"));
    const row = element("div", undefined, "amount");
    const field = element("div", undefined, "field");
    field.append(label, this.number);
    row.append(field, lock);
    this.outside = element("p", "", "bad");
    Object.assign(this.outside, { id: `amount-problem-${i}`, role: "status" });
    this.number.setAttribute("aria-describedby", this.outside.id);
    this.returns = new Figures(element("table", undefined, "returns"));
    this.told = element("p", "", "hint");
    this.box.append(head, ...(means ? [element("p", means, "hint")] : []), drawing, this.slider, row, this.outside, this.returns.table, this.told, this.limits(i), this.asTable());
    this.listen();
  }

  input(type, id, label) {
    const made = element("input");
    Object.assign(made, { type, id, min: 0 });
    if (label) made.setAttribute("aria-label", label);
    return made;
  }

  limits(i) {
    const details = element("details");
    details.append(element("summary", "Bounds of the best plan"));
    const fields = element("div", undefined, "fields");
    [this.low, this.high] = ["At least", "At most"].map((text, end) => {
      const made = this.input("number", `bound-${i}-${end}`);
      made.step = "any";
      const label = element("label", text);
      label.append(element("span", ` for ${this.name}`, "unseen"));
      label.htmlFor = made.id;
      const field = element("div", undefined, "field");
      field.append(label, made);
      fields.append(field);
      return made;
    });
    this.unbound = element("p", "", "bad");
    Object.assign(this.unbound, { id: `bound-problem-${i}`, role: "status" });
    [this.low, this.high].forEach((field) => field.setAttribute("aria-describedby", this.unbound.id));
    details.append(fields, this.unbound);
    return details;
  }

  asTable() {
    this.rows = element("details");
    this.rows.append(element("summary", "The curve as a table"));
    this.rows.addEventListener("toggle", () => this.fillTable());
    return this.rows;
  }

  listen() {
    this.slider.addEventListener("input", () => this.set(Number(this.slider.value)));
    this.number.addEventListener("input", () => {
      const value = this.number.valueAsNumber;
      marking(this.number, !amountLike(value));
      if (amountLike(value)) this.set(value, true);
    });
    this.number.addEventListener("change", () => {
      const fine = amountLike(this.number.valueAsNumber);
      this.refusal = fine ? "" : `An amount is ${UP_TO}, not ${typed(this.number)}; yours stays ${figure(state.spend[this.name])}.`;
      this.typed = false;
      marking(this.number, false);
      this.move();
    });
    this.lock.addEventListener("change", () => {
      state.locked = this.lock.checked ? [...state.locked, this.name] : state.locked.filter((n) => n !== this.name);
      complain("total", "");
      this.move();
      wantBest();
      keepAddress();
    });
    [this.low, this.high].forEach((field, end) => this.listenBound(field, end));
  }

  listenBound(field, end) {
    const fine = () => amountLike(field.valueAsNumber) || (field.value === "" && !field.validity.badInput);
    field.addEventListener("input", () => {
      marking(field, !fine());
      if (!fine()) return;
      this.unbound.textContent = "";
      const bounds = [...(state.bounds[this.name] || [null, null])];
      bounds[end] = field.value === "" ? null : field.valueAsNumber;
      if (bounds.every((b) => b === null)) delete state.bounds[this.name];
      else state.bounds[this.name] = bounds;
      this.move();
      wantBest();
      keepAddress();
    });
    field.addEventListener("change", () => {
      const bound = state.bounds[this.name]?.[end] ?? null;
      this.unbound.textContent = fine() ? "" : `A bound is ${UP_TO}, not ${typed(field)}; ${bound === null ? "none is set" : `it stays ${figure(bound)}`}.`;
      marking(field, false);
      field.value = shown(bound);
    });
  }

  set(value, byKeys = false) {
    this.typed = byKeys;
    this.refusal = "";
    state.spend[this.name] = value;
    complain("total", "");
    changed();
  }

  show(channel) {
    this.channel = channel;
    this.typed = false;
    this.refusal = "";
    const { spend, seen, unit } = channel;
    const top = spend[spend.length - 1];
    const money = within(unit);
    this.unit.textContent = unit ? `(${unit})` : "";
    const step = 10 ** Math.floor(Math.log10(top / 100));
    Object.assign(this.slider, { max: top, step });
    this.number.step = step;
    [this.low.placeholder, this.high.placeholder] = state.beyond ? ["0", "none"] : seen.map((s) => String(Number(s.toPrecision(4))));
    const many = curves.periods > 1 ? `, ${count(curves.periods)}` : "";
    this.chart.show({
      ...channel,
      number: tick,
      title: `What ${channel.name} brings`,
      desc: `From ${figure(0)} to ${figure(top)}${money} it brings ${figure(channel.sales[0])} to ${figure(channel.sales[channel.sales.length - 1])}${within(curves.unit)}. Spend from ${span(...seen)}${money} was seen. Arrow keys read the curve; a table follows below.`,
      xLabel: `Spend${unit ? `, ${unit}` : ""}${many}`,
      yLabel: `Brings${curves.unit ? `, ${curves.unit}` : ""}`,
    });
    this.fillTable();
    this.move();
  }

  // The sentence under the pointer.
  reading(x) {
    const { spend, sales, low, high, marginal, unit } = this.channel;
    const read = (ys) => between(spend, ys, x);
    const ends = span(read(low), read(high));
    return `${figure(x)}${within(unit)}: brings ${figure(read(sales))}${ends ? ` (${ends})` : ""}; one more unit, ${figure(read(marginal))}.`;
  }

  // What came later: where it stops paying.
  tell(channel) {
    this.told.textContent = [channel.pays_until, channel.break_even, channel.saturation].filter(Boolean).map((t) => apart(t.sentence)).join(" ");
  }

  // Show the amount, the marks and the bounds as they are now.
  move() {
    if (!this.channel) return;
    const now = state.spend[this.name];
    const locked = state.locked.includes(this.name);
    this.slider.value = now;
    this.slider.setAttribute("aria-valuetext", `${figure(now)}${within(this.channel.unit)}`);
    if (!(this.typed && document.activeElement === this.number)) this.number.value = shown(now);
    this.slider.disabled = this.number.disabled = locked;
    this.lock.checked = locked;
    [this.low, this.high].forEach((field, end) => {
      if (document.activeElement !== field) field.value = shown(state.bounds[this.name]?.[end] ?? null);
    });
    this.chart.mark({ today: this.channel.today, mine: now, best: plans.best ? plans.best.spend[this.name] : null });
    const [least, most] = this.channel.seen;
    const [low, high] = state.bounds[this.name] || [null, null];
    const words = this.refusal ? [this.refusal] : [];
    if (now > most * (1 + 1e-9) || now < least * (1 - 1e-9)) words.push(`Outside the range seen, ${span(least, most)}: the curve is not known there.`);
    if ((low !== null && now < low) || (high !== null && now > high)) words.push("Your amount is outside your own bounds, which hold for the best plan.");
    this.outside.textContent = words.join(" ");
  }

  showReturns() {
    const of = (pick) => (plan) => {
      const channel = plan.channels.find((c) => c.channel === this.name);
      return channel ? pick(channel) : [];
    };
    this.returns.show([
      ["Spend", "", of((c) => [figure(c.spend)])],
      ["Brings", "", of((c) => [figure(c.sales)])],
      ["One more unit brings", "", of((c) => [figure(c.marginal), c.marginal === null ? "" : span(c.marginal_low, c.marginal_high)])],
    ]);
  }

  fillTable() {
    if (!this.rows.open || !this.channel) return;
    const { spend, sales, low, high, marginal, unit } = this.channel;
    const heads = [`Spend${inUnit(unit)}`, `Brings${inUnit(curves.unit)}`, "Interval", "One more unit brings"];
    const picked = spend.map((_, i) => i).filter((i) => i % 5 === 0);
    const rows = picked.map((i) => [figure(spend[i]), figure(sales[i]), span(low[i], high[i]), figure(marginal[i])]);
    const made = table(heads, rows);
    made.caption = element("caption", `What ${this.name} brings`);
    const wide = element("div", undefined, "wide");
    wide.append(made);
    this.rows.replaceChildren(this.rows.firstElementChild, wide);
  }
}

function table(heads, rows) {
  const made = element("table");
  const head = element("thead");
  const body = element("tbody");
  const top = element("tr");
  top.append(...heads.map((h) => Object.assign(element("th", h, "number"), { scope: "col" })));
  head.append(top);
  body.append(...rows.map((row) => {
    const line = element("tr");
    line.append(...row.map((text) => element("td", text, "number")));
    return line;
  }));
  made.append(head, body);
  return made;
}

// --- the three plans

// A table of their figures. A cell is written only where it says something new: what is touched has to be laid out again.
class Figures {
  constructor(table) {
    this.table = table;
    this.body = table.tBodies[0] || element("tbody");
    if (this.body.parentElement) return;
    const head = element("thead");
    head.append(line(element("td"), Object.values(KINDS).map((text) => headed(text, "col", "number"))));
    table.append(head, this.body);
  }

  // Each row is a text, its unit, and what a plan says to it: a figure and between what it lies.
  show(rows) {
    const heads = JSON.stringify(rows);
    if (heads !== this.heads) this.build(rows);
    this.heads = heads;
    rows.forEach(([, , says], i) => Object.keys(KINDS).forEach((kind, k) => this.fill(i, k, plans[kind] ? says(plans[kind]) : [])));
  }

  build(rows) {
    this.said = rows.map(() => []);
    this.body.replaceChildren(...rows.map(([text, unit]) => {
      const head = headed(text, "row");
      if (unit) head.append(element("span", unit, "ends"));
      return line(head, Object.keys(KINDS).map(() => element("td", undefined, "number")));
    }));
  }

  fill(row, column, [value = "", ends = ""]) {
    const says = `${value}\n${ends}`;
    if ((this.said[row][column] ?? "\n") === says) return;
    this.said[row][column] = says;
    const parts = [[value, "figure"], [ends, "ends"]].filter(([text]) => text);
    this.body.rows[row].cells[column + 1].replaceChildren(...parts.map(([text, kind]) => element("span", text, kind)));
  }
}

function line(first, cells) {
  const row = element("tr");
  row.append(first, ...cells);
  return row;
}

const headed = (text, scope, kind) => Object.assign(element("th", text, kind), { scope });
const result = new Figures(at("result"));

function showPlans() {
  result.show([
    ["Total spend", curves.money, (p) => [figure(p.total)]],
    ["Sales expected", curves.unit, (p) => [figure(p.sales), span(p.low, p.high)]],
    ["Gain over today", curves.unit, (p) => [figure(p.gain, true), gains(p)]],
    ["Brings per unit spent", "", (p) => [figure(p.roi), span(p.roi_low, p.roi_high)]],
    ...(state.margin === null ? [] : [["Profit", curves.money, (p) => [figure(p.profit), span(p.profit_low, p.profit_high)]]]),
  ]);
  at("best-problem").textContent = bestProblem ? `There is no best plan for this: ${apart(bestProblem)}` : "";
  at("take").disabled = !plans.best;
  cards.forEach((card) => {
    card.showReturns();
    card.move();
  });
  at("dock").hidden = !plans.mine;
  if (plans.mine) at("dock").textContent = `${figure(plans.mine.sales)}${within(curves.unit)} expected for ${figure(plans.mine.total)}, ${compared(plans.mine)}`;
  showNotes();
  speak();
}

const compared = (p) => (p.gain === 0 ? "as many as today" : `${figure(Math.abs(p.gain))} ${p.gain > 0 ? "more" : "less"} than today`);

function sentence() {
  const p = plans.mine;
  if (!p) return "";
  const ends = p.low === null ? "" : ` (${PERCENT(p.level)} interval ${span(p.low, p.high)})`;
  const more = plans.best ? plans.best.sales - p.sales : 0;
  const better = plans.best && Math.abs(more) > 1e-9 * Math.abs(p.sales) ? ` The best plan expects ${figure(Math.abs(more))} ${more > 0 ? "more" : "less"}.` : "";
  return `Your plan: ${figure(p.sales)}${within(curves.unit)} expected${ends}, ${compared(p)}.${better}`;
}

let noted = "";
function showNotes() {
  const said = new Set();
  const part = (title, sentences) => {
    const fresh = sentences.filter((s) => !said.has(s));
    fresh.forEach((s) => said.add(s));
    if (!fresh.length) return [];
    const items = element("ul");
    items.append(...fresh.map((s) => element("li", apart(s))));
    return [element("h3", title), items];
  };
  const of = (plan) => (plan ? [...plan.extrapolates.map((e) => e.sentence), ...plan.binding.map((b) => b.sentence), ...plan.notes] : []);
  const says = JSON.stringify([curves.notes, of(plans.mine), of(plans.best)]);
  if (says === noted) return;
  noted = says;
  at("notes").replaceChildren(...part("Curves", curves.notes), ...part("Your plan", of(plans.mine)), ...part("Best plan", of(plans.best)));
}

// --- scenarios

const scored = new Map();
const wish = (s) => ({ spend: s.spend, ...given(s) });

async function showScenarios() {
  drawScenarios();
  for (const s of state.scenarios) {
    const key = curves.version + JSON.stringify(wish(s));
    if (scored.has(key)) continue;
    const lacks = names().filter((n) => s.spend[n] === undefined); // it was made for another model
    scored.set(key, lacks.length ? { value: { message: `No amount is known for ${lacks.join(", ")}.` } } : await ask("/plan", wish(s)));
  }
  drawScenarios();
}

const outcome = (s) => scored.get(curves.version + JSON.stringify(wish(s)))?.value;

function drawScenarios() {
  const all = state.scenarios;
  const target = at("scenarios");
  target.parentElement.hidden = at("export").hidden = !all.length;
  const profits = all.some((s) => s.margin !== null);
  const placed = curves.markets.length > 1;
  const heads = ["Name", ...(curves.dated ? ["Periods"] : []), ...(placed ? ["Market"] : []), ...names(), "Total", "Sales expected", "Gain over today", ...(profits ? ["Profit"] : []), ""];
  const head = element("thead");
  const top = element("tr");
  top.append(...heads.map((h, i) => (h ? Object.assign(element("th", h, i ? "number" : ""), { scope: "col" }) : element("td"))));
  head.append(top);
  const body = element("tbody");
  body.append(...all.map((s) => {
    const row = element("tr");
    const name = element("th", s.name);
    name.scope = "row";
    const p = outcome(s);
    const cell = (value, ends = "") => {
      const made = element("td", value, "number");
      if (ends) made.append(element("span", ends, "ends"));
      return made;
    };
    const known = p && p.sales !== undefined;
    row.append(name, ...(curves.dated ? [cell(figure(s.horizon))] : []), ...(placed ? [cell(s.market ?? "average")] : []), ...names().map((n) => cell(figure(s.spend[n]))));
    row.append(cell(known ? figure(p.total) : "–"), cell(known ? figure(p.sales) : p?.message ?? "", known ? span(p.low, p.high) : ""));
    row.append(cell(known ? figure(p.gain, true) : "", known ? gains(p) : ""));
    if (profits) row.append(cell(known ? figure(p.profit) : "", known ? span(p.profit_low, p.profit_high) : ""));
    const acts = element("td", undefined, "acts");
    acts.append(act("Open", s, openScenario), act("Delete", s, deleteScenario));
    acts.firstChild.disabled = !known; // it is of another model
    row.append(acts);
    return row;
  }));
  const buttons = () => [...target.querySelectorAll("button")];
  const held = buttons().indexOf(document.activeElement);
  target.replaceChildren(head, body);
  buttons()[held]?.focus(); // whoever opens a scenario by keyboard goes on from there
}

function act(text, scenario, run) {
  const made = element("button", text, "plain");
  made.type = "button";
  made.append(element("span", ` ${scenario.name}`, "unseen"));
  made.addEventListener("click", () => run(scenario));
  return made;
}

function openScenario(s) {
  const { horizon, market, margin, level, tail } = s;
  Object.assign(state, { horizon, market, margin, level, tail, spend: { ...s.spend } });
  showSettings();
  reload();
}

function deleteScenario(s) {
  state.scenarios = state.scenarios.filter((other) => other !== s);
  keepAddress();
  drawScenarios();
  at("scenario-hint").textContent = `${s.name} is deleted.`;
  at("scenario-name").focus();
}

function keepScenario(event) {
  event.preventDefault();
  if (state.scenarios.length >= MOST_SCENARIOS) {
    at("scenario-hint").textContent = `There are ${MOST_SCENARIOS} scenarios, as many as an address holds; delete one.`;
    return;
  }
  const name = freeName(at("scenario-name").value, state.scenarios);
  const { horizon, market, margin, level, tail } = state;
  state.scenarios = [...state.scenarios, { name, horizon, market, margin, level, tail, spend: { ...state.spend } }];
  at("scenario-name").value = "";
  at("scenario-hint").textContent = `${name} is kept.`;
  keepAddress();
  showScenarios();
}

function exportCsv() {
  const placed = curves.markets.length > 1;
  const heads = ["name", "model", "version", "periods", ...(placed ? ["market"] : []), ...names(), "total", "sales", "low", "high", "gain", "gain_low", "gain_high", "margin", "profit", "profit_low", "profit_high", "level"];
  const rows = state.scenarios.map((s) => {
    const p = outcome(s) || {};
    const of = (...keys) => keys.map((key) => p[key] ?? null);
    return [s.name, curves.model, curves.version, s.horizon, ...(placed ? [s.market] : []), ...names().map((n) => s.spend[n]), ...of("total", "sales", "low", "high", "gain", "gain_low", "gain_high"), s.margin, ...of("profit", "profit_low", "profit_high"), s.level];
  });
  const link = element("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", toCsv([heads, ...rows])], { type: "text/csv;charset=utf-8" }));
  link.download = "plans.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// --- what the user does

function scaled(wanted) {
  const free = names().filter((n) => !state.locked.includes(n));
  const kept = names().filter((n) => state.locked.includes(n)).reduce((sum, n) => sum + state.spend[n], 0);
  const left = Math.max(wanted - kept, 0);
  const now = free.reduce((sum, n) => sum + state.spend[n], 0);
  for (const n of free) state.spend[n] = now > 0 ? (state.spend[n] / now) * left : left / free.length;
}

// What is wrong with what was typed, in the line that describes the field; no text where all is well.
function complain(id, text) {
  at(`${id}-problem`).textContent = text;
}

const marking = (field, wrong) => (wrong ? field.setAttribute("aria-invalid", "true") : field.removeAttribute("aria-invalid"));
const typed = (field) => (field.value === "" ? "this" : field.value);
const wholePeriods = (value) => Number.isInteger(value) && value >= 1 && value <= 520;
const amountLike = (value) => Number.isFinite(value) && value >= 0 && value <= MOST;
const UP_TO = `from 0 to ${FORMATS[0](MOST)}`;

// Why a total cannot be had: it is no amount, or what is locked does not leave it.
function totalRefused(value) {
  if (!amountLike(value)) return `A total is ${UP_TO}; yours stays ${figure(total())}.`;
  const locked = names().filter((n) => state.locked.includes(n));
  const kept = locked.reduce((sum, n) => sum + state.spend[n], 0);
  const tiny = 1e-9 * kept; // a field shows nine digits
  if (locked.length === names().length && Math.abs(value - kept) > tiny) return `All channels are locked, so the total stays ${figure(kept)}.`;
  if (value < kept - tiny) return `${figure(value)} is less than the ${figure(kept)} that are locked (${locked.join(", ")}): the total is ${figure(kept)}, and nothing is left for the other channels.`;
  return "";
}

// The margin that is typed; `wrong` where there is something that is none.
function typedMargin() {
  const field = at("margin");
  const value = field.valueAsNumber;
  const margin = value > 0 && value <= MOST ? value : null;
  return { margin, wrong: margin === null && (field.value !== "" || field.validity.badInput) };
}

let before; // the periods before others were typed
function newHorizon(periods) {
  const times = periods / state.horizon;
  state.horizon = periods;
  for (const n of names()) {
    state.spend[n] *= times;
    if (state.bounds[n]) state.bounds[n] = state.bounds[n].map((b) => (b === null ? null : b * times));
  }
  reloadSoon();
}

at("horizon").addEventListener("input", () => {
  const value = at("horizon").valueAsNumber;
  const fine = wholePeriods(value);
  marking(at("horizon"), !fine);
  if (!fine) return;
  complain("horizon", "");
  newHorizon(value);
});
at("horizon").addEventListener("change", () => {
  const field = at("horizon");
  const fine = wholePeriods(field.valueAsNumber);
  complain("horizon", fine ? "" : `Periods are a whole number from 1 to 520, not ${typed(field)}; the plan stays at ${count(before)}.`);
  marking(field, false);
  if (!fine && state.horizon !== before) newHorizon(before); // of 1000, 1, 10 and 100 were planned on the way
  before = field.value = state.horizon;
});
at("total").addEventListener("input", () => marking(at("total"), !amountLike(at("total").valueAsNumber)));
at("total").addEventListener("change", () => {
  const value = at("total").valueAsNumber;
  complain("total", totalRefused(value));
  marking(at("total"), false);
  if (amountLike(value)) scaled(value);
  changed();
});
at("margin").addEventListener("input", () => {
  const { margin, wrong } = typedMargin();
  state.margin = margin;
  marking(at("margin"), wrong);
  if (!wrong) complain("margin", "");
  showGoal();
  ofToday.want(told());
  changed();
  wantReturns();
});
at("margin").addEventListener("change", () => {
  complain("margin", typedMargin().wrong ? `A margin is above 0 and at most ${FORMATS[0](MOST)}, not ${typed(at("margin"))}: no margin is in force.` : "");
});
at("market").addEventListener("change", () => {
  state.market = at("market").value || null;
  moved = true;
  reload();
});
at("level").addEventListener("change", () => {
  state.level = Number(at("level").value);
  reload();
});
at("tail").addEventListener("change", () => {
  state.tail = at("tail").checked;
  reload();
});
at("beyond").addEventListener("change", () => {
  state.beyond = at("beyond").checked;
  curves.channels.forEach((c) => cards.get(c.name).show(c));
  wantBest();
  keepAddress();
});
document.querySelectorAll("[name=goal]").forEach((choice) => choice.addEventListener("change", () => {
  state.goal = choice.value;
  wantBest();
  keepAddress();
}));
at("take").addEventListener("click", () => {
  if (!plans.best) return;
  state.spend = { ...plans.best.spend };
  changed();
});
at("back").addEventListener("click", () => {
  for (const c of curves.channels) if (!state.locked.includes(c.name)) state.spend[c.name] = c.today;
  changed();
});
at("scenario-form").addEventListener("submit", keepScenario);
at("export").addEventListener("click", exportCsv);
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = at("token").value.trim();
  if (!/^[!-~]+$/.test(token)) {
    problem("A token is one word of the signs that a plain keyboard has, without blanks.");
    return;
  }
  headers.Authorization = `Bearer ${token}`;
  scored.clear();
  start();
});
window.addEventListener("hashchange", () => {
  if (!curves) return;
  adopt(location.hash);
  reload();
});
at("level").replaceChildren(...LEVELS.map((l) => new Option(PERCENT(l), l)));
start();
