"use strict";

const at = (id) => document.getElementById(id);
const headers = {};
let info;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

const figure = (x) => Number(x).toLocaleString("en", { maximumSignificantDigits: 6 });

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

async function start() {
  let answer;
  try {
    answer = await fetch("/info", { headers });
  } catch (error) {
    problem("The server does not answer.");
    return;
  }
  at("token-form").hidden = answer.status !== 401;
  if (!answer.ok) {
    problem((await answer.json()).message);
    at("lead").textContent = "";
    if (answer.status === 401) at("token").focus();
    return;
  }
  problem("");
  info = await answer.json();
  show();
}

function show() {
  document.title = `${info.name}, version ${info.version}`;
  at("title").textContent = info.name;
  at("lead").textContent = `Version ${info.version}, ${info.title || "model"}: predicts ${named(info.target)}.`;
  at("fields").replaceChildren(...info.columns.map(field), ...placed());
  const levels = [0.5, 0.8, 0.9, 0.95, 0.99].filter((l) => l <= info.interval.highest_level);
  at("interval").replaceChildren(new Option("none", ""), ...levels.map((l) => new Option(`${+(l * 100).toFixed(1)} %`, l)));
  at("formula").textContent = info.formula;
  const told = ["meaning", "unit"].filter((key) => info.columns.some((c) => c[key]));
  const heads = ["Column", ...told.map((key) => key[0].toUpperCase() + key.slice(1)), "Lowest", "Highest"];
  table(at("columns"), heads, info.columns.map(
    (c) => [c.name, ...told.map((key) => c[key]), figure(c.lowest), figure(c.highest)]), told.length + 1);
  const { basis, rows, ...scores } = info.scores;
  at("scores-head").textContent = `Scores of ${rows} ${basis} rows`;
  table(at("scores"), ["Score", "Value"], Object.entries(scores).map(([k, v]) => [k === "r2" ? "R²" : k.toUpperCase(), figure(v)]), 1);
  at("try").hidden = at("model").hidden = false;
  command();
}

const named = (c) => (c.meaning || c.name) + (c.unit ? ` (${c.unit})` : "");

function field(column, i) {
  const box = element("div", undefined, "field");
  const label = element("label", column.name);
  label.htmlFor = `column-${i}`;
  const input = element("input");
  Object.assign(input, { id: `column-${i}`, inputMode: "decimal", autocomplete: "off", required: true });
  input.value = Number(((column.lowest + column.highest) / 2).toPrecision(3));
  const range = `${figure(column.lowest)} to ${figure(column.highest)}`;
  const known = column.meaning || column.unit;
  const hint = element("p", known ? `${named(column)}; fitted on ${range}` : `Fitted on ${range}`, "hint");
  hint.id = `hint-${i}`;
  input.setAttribute("aria-describedby", hint.id);
  box.append(label, input, hint);
  return box;
}

function placed() {
  const made = [];
  if (info.date) {
    const input = element("input");
    Object.assign(input, { type: "date", required: true, value: info.date.next.slice(0, 10) });
    made.push(labelled(info.date, input, "date", "The first period after those fitted, unless you change it."));
  }
  if (info.market) {
    const choice = element("select");
    choice.append(...info.market.markets.map((m) => new Option(m, m)));
    made.push(labelled(info.market, choice, "market", info.market.meaning));
  }
  return made;
}

function labelled(column, input, id, text) {
  const box = element("div", undefined, "field");
  const label = element("label", column.name);
  label.htmlFor = input.id = `column-${id}`;
  const hint = element("p", text, "hint");
  hint.id = `hint-${id}`;
  input.setAttribute("aria-describedby", hint.id);
  box.append(label, input, hint);
  return box;
}

function table(target, heads, rows, firstNumber) {
  const line = (cells, name) => {
    const made = element("tr");
    made.append(...cells.map((text, i) => element(name, text, i >= firstNumber ? "number" : "")));
    return made;
  };
  const head = element("thead");
  const body = element("tbody");
  head.append(line(heads, "th"));
  head.querySelectorAll("th").forEach((th) => { th.scope = "col"; });
  body.append(...rows.map((r) => line(r, "td")));
  target.replaceChildren(head, body);
}

function request() {
  const row = {};
  info.columns.forEach((column, i) => {
    const text = at(`column-${i}`).value.trim();
    row[column.name] = text === "" ? null : Number.isFinite(Number(text)) ? Number(text) : text;
  });
  for (const kind of ["date", "market"]) {
    if (info[kind]) row[info[kind].name] = at(`column-${kind}`).value || null;
  }
  const level = at("interval").value;
  return { dataframe_records: [row], ...(level ? { params: { interval: Number(level) } } : {}) };
}

function command() {
  const quoted = JSON.stringify(request()).replaceAll("'", "'\\''");
  const token = headers.Authorization ? " \\\n  -H 'Authorization: Bearer TOKEN'" : "";
  at("command").textContent = `curl ${location.origin}/invocations -H 'Content-Type: application/json'${token} \\\n  -d '${quoted}'`;
}

async function ask(event) {
  event.preventDefault();
  const shown = at("answer");
  let answer, said;
  try {
    answer = await fetch("/invocations", {
      method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(request()),
    });
    said = await answer.json();
  } catch (error) {
    shown.replaceChildren(element("p", "The server does not answer.", "bad"));
    return;
  }
  if (!answer.ok) {
    shown.replaceChildren(element("p", said.message, "bad"));
    return;
  }
  const [found] = said.predictions;
  const value = typeof found === "number" ? found : found.prediction;
  const unit = info.target.unit ? ` ${info.target.unit}` : "";
  const lines = [element("p", info.target.meaning || info.target.name), element("p", figure(value) + unit, "figure")];
  if (typeof found !== "number") lines.push(element("p", `${figure(found.lower)} to ${figure(found.upper)}${unit}`));
  const warning = answer.headers.get("X-Adresponse-Warning");
  if (warning) lines.push(element("p", `${warning}.`, "bad"));
  lines.push(element("p", `Version ${answer.headers.get("X-Model-Version")} answered.`, "hint"));
  shown.replaceChildren(...lines);
}

at("form").addEventListener("submit", ask);
at("form").addEventListener("input", command);
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  headers.Authorization = `Bearer ${at("token").value}`;
  start();
});
start();
