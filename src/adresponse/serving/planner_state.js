// What the user has set, how it is kept in the page's address, and how scenarios are written as CSV.

const MOST_SCENARIOS = 30;
const LONGEST_NAME = 60;
const LEVELS = [0.5, 0.8, 0.9, 0.95, 0.99];

export { LEVELS, MOST_SCENARIOS };

export function fresh(dated) {
  return { horizon: dated ? 13 : 1, market: null, margin: null, level: 0.9, beyond: false, tail: false, goal: "total", spend: {}, locked: [], bounds: {}, scenarios: [] };
}

const amount = (x) => (typeof x === "number" && Number.isFinite(x) && x >= 0 && x <= 1e15 ? x : null);
const list = (x) => (Array.isArray(x) ? x : []);

// The state as the part of an address after "#": amounts stand in the order of the names.
export function toHash(state, names) {
  const bounds = names.map((n) => state.bounds[n] || [null, null]);
  const kept = {
    c: names,
    s: names.map((n) => state.spend[n]),
    h: state.horizon,
    r: state.market,
    m: state.margin,
    l: state.level,
    y: Number(state.beyond),
    t: Number(state.tail),
    g: state.goal,
    k: names.flatMap((n, i) => (state.locked.includes(n) ? [i] : [])),
    b: bounds.some(([low, high]) => low !== null || high !== null) ? bounds : [],
    p: state.scenarios.map((s) => [s.name, s.horizon, s.margin, s.level, Number(s.tail), names.map((n) => s.spend[n] ?? null), s.market]),
  };
  return "#" + encodeURIComponent(JSON.stringify(kept));
}

// What an address says, where it says something that can be used; null where it says nothing. Whatever is odd is left out.
export function fromHash(hash, names, dated, markets) {
  let kept;
  try {
    kept = JSON.parse(decodeURIComponent(hash.replace(/^#/, "")));
  } catch (error) {
    return null;
  }
  if (typeof kept !== "object" || kept === null || !Array.isArray(kept.c)) return null;
  const state = fresh(dated);
  const at = new Map(kept.c.map((name, i) => [name, i]));
  const each = (values) => Object.fromEntries(names.map((n) => [n, amount(list(values)[at.get(n)])]).filter(([, x]) => x !== null));
  const periods = (x) => (Number.isInteger(x) && x >= 1 && x <= 520 ? x : state.horizon);
  const market = (x) => (typeof x === "string" ? x : null);
  const margin = (x) => (amount(x) > 0 ? x : null);
  const level = (x) => (LEVELS.includes(x) ? x : state.level);
  const elsewhere = dated || periods(kept.h) === 1 ? [] : ["dates"];
  if (market(kept.r) !== null && !markets.includes(kept.r)) elsewhere.push(kept.r);
  state.unknown = [...kept.c.filter((n) => !names.includes(n)).map(String), ...elsewhere];
  if (!elsewhere.length) { // else the amounts are for something that is not here
    state.spend = each(kept.s);
    state.horizon = periods(kept.h);
    state.market = market(kept.r);
  }
  state.margin = margin(kept.m);
  state.level = level(kept.l);
  state.beyond = kept.y === 1;
  state.tail = dated && kept.t === 1;
  state.goal = kept.g === "profit" ? "profit" : "total";
  state.locked = names.filter((n) => list(kept.k).includes(at.get(n)) && n in state.spend);
  for (const n of names.filter((n) => n in state.spend)) {
    const [low, high] = list(list(kept.b)[at.get(n)]);
    if (amount(low) !== null || amount(high) !== null) state.bounds[n] = [amount(low), amount(high)];
  }
  // A scenario of another model stays as it was made, so the server says why it cannot be scored.
  state.scenarios = list(kept.p).slice(0, MOST_SCENARIOS).filter((s) => Array.isArray(s) && typeof s[0] === "string").map((s) => ({
    name: s[0].slice(0, LONGEST_NAME),
    horizon: periods(s[1]),
    market: market(s[6]),
    margin: margin(s[2]),
    level: level(s[3]),
    tail: dated && s[4] === 1,
    spend: each(s[5]),
  }));
  return state;
}

// A name that no scenario has yet.
export function freeName(wanted, scenarios) {
  const taken = new Set(scenarios.map((s) => s.name));
  let name = wanted.trim().slice(0, LONGEST_NAME);
  if (name && !taken.has(name)) return name;
  const stem = name ? name.slice(0, LONGEST_NAME - 5) : "Plan";
  let number = name ? 2 : 1;
  do name = stem === "Plan" ? `Plan ${number++}` : `${stem} (${number++})`; while (taken.has(name));
  return name;
}

// A cell of CSV. Text that a spreadsheet would take for a formula gets an apostrophe before it (OWASP, CSV injection).
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[\s]*[=+\-@]|^[\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const toCsv = (rows) => rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
