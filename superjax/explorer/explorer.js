"use strict";
// The page of a run: a map of all cells, and the model of one of them beside it. All arrays are (axes, ..., own).

const content = JSON.parse(document.getElementById("content").textContent);
const at = id => document.getElementById(id);
const PHASES = content.phases;
const DIVERGED = PHASES.length - 1;
const MERGED = 0.95;  // the cosine of two features from which on they are, as in superjax.analysis.merged
const FEW = 6;  // points of an axis, up to which each has a tick
const LABELS = {phase: "phase", norm: "norm ‖W_i‖", interference: "interference", dimensionality: "dimensionality D_i",
  superposed: "number of superposed features", loss: "loss of the best restart", optimum_loss: "loss of the optimum",
  gap: "gap to the best solution in other phases", success: "fraction of restarts that reach the optimum",
  agreement: "fraction of restarts with the optimum's phases", superposition_fraction: "fraction of restarts with superposition"};
const state = {case: 0, map: "", of: "best", feature: 0, further: [], x: 0, y: 0, kept: false};
const view = {z: null, log: false};

const literal = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");  // for Plotly, which reads tags
const whole = (n, first = 0) => n <= 12 ? {tickvals: Array.from({length: n}, (_, i) => i + first)}
  : {tickformat: "d", nticks: 8};
const number = v => Number.isFinite(v) ? String(Number(v.toPrecision(4))) : "none";

async function unpack(array) {
  const bytes = Uint8Array.from(atob(array.data), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const size = array.type === "int8" ? 1 : 4;
  const count = planes.length / size, raw = new Uint8Array(planes.length);
  for (let plane = 0; plane < size; plane++) {
    for (let k = 0; k < count; k++) raw[k * size + plane] = planes[plane * count + k];
  }
  const Type = {int8: Int8Array, int32: Int32Array, float32: Float32Array}[array.type];
  array.values = new Type(raw.buffer);
  delete array.data;
}

const current = () => content.cases[state.case];
const has = key => key in current().arrays;
const sizes = () => current().axes.map(axis => axis.values.length);

// The number of a cell among all, from its place on the map and the points of the further axes.
function cellAt(x, y) {
  return [...state.further, x, y].reduce((cell, k, axis) => cell * sizes()[axis] + k, 0);
}

// The part of an array that belongs to a cell, and to a restart if one is given.
function part(key, cell, restart) {
  const {values, shape} = current().arrays[key];
  const own = shape.slice(current().axes.length + (restart === undefined ? 0 : 1)).reduce((a, b) => a * b, 1);
  const begin = (restart === undefined ? cell : cell * current().restarts + restart) * own;
  return values.subarray(begin, begin + own);
}

function weightsOf(cell) {
  const key = state.of === "optimum" ? "optimum_W" : "W";
  if (!has(key)) return null;
  const {n} = current(), flat = part(key, cell), rows = [];
  for (let h = 0; h < flat.length / n; h++) rows.push(Array.from(flat.subarray(h * n, (h + 1) * n)));
  return rows;
}

const dot = (W, i, j) => W.reduce((sum, row) => sum + row[i] * row[j], 0);

function norms(W) {
  return W[0].map((_, i) => Math.sqrt(dot(W, i, i)));
}

// Σ_{j ≠ i} (Ŵ_i · W_j)², and D_i = ‖W_i‖² / Σ_j (Ŵ_i · W_j)², 0 of a feature without weights.
function interference(W) {
  return norms(W).map((length, i) => length === 0 ? 0
    : W[0].reduce((sum, _, j) => j === i ? sum : sum + (dot(W, i, j) / length) ** 2, 0));
}

function dimensionality(W) {
  const shared = interference(W);
  return norms(W).map((length, i) => length === 0 ? 0 : length ** 2 / (length ** 2 + shared[i]));
}

// Whether the map's feature lies on the direction of another, both represented.
function merged(cell) {
  const W = state.map === "phase" && state.of !== "typical" ? weightsOf(cell) : null, i = state.feature;
  if (!W) return false;
  const length = norms(W), there = current().represented;
  return length[i] >= there
    && length.some((l, j) => j !== i && l >= there && dot(W, i, j) >= MERGED * length[i] * l);
}

// White strokes through merged cells, on fine grids through every few cells so that they can be told apart.
function hatches([ax, ay]) {
  const ex = edges(ax.values, ax.log), ey = edges(ay.values, ay.log), x = [], y = [];
  const every = Math.ceil(Math.max(ax.values.length, ay.values.length) / 25);
  for (let i = 0; i < ax.values.length; i++) {
    for (let j = 0; j < ay.values.length; j++) {
      if ((i - j) % every || !merged(cellAt(i, j))) continue;
      x.push(ex[i], ex[i + 1], null);
      y.push(ey[j], ey[j + 1], null);
    }
  }
  return {type: "scatter", mode: "lines", x, y, line: {color: "#ffffff", width: 1.5}, hoverinfo: "skip"};
}

// Boundaries that were searched, white on black, so that they are seen on every colour; dashed, ends of the band.
function boundaries() {
  return [false, true].flatMap(band => {
    const some = current().lines.filter(line => line.band === band);
    const [x, y] = ["x", "y"].map(way => some.flatMap(line => [...line[way], null]));
    return [["#000000", 4], ["#ffffff", 1.8]].map(([color, width], k) => ({type: "scatter", mode: "lines", x, y,
      visible: some.length > 0, line: {color, width, dash: band && k ? "dash" : "solid"}, hoverinfo: "skip"}));
  });
}

function phasesOf(cell) {
  if (state.of === "optimum") return part("optimum_phase", cell);
  if (state.of === "typical") return part("typical_phase", cell);
  return part("phase", cell, part("best", cell)[0]);
}

// The map's number of a cell; NaN where it is not known.
function valueAt(cell) {
  const i = state.feature;
  if (state.map === "phase") return phasesOf(cell)[i];
  if (state.map === "superposed") {
    const phases = Array.from(phasesOf(cell));
    return phases.includes(DIVERGED) ? NaN : phases.filter(p => p === 2).length;
  }
  if (state.map === "loss") return part("loss", cell)[part("best", cell)[0]];
  if (["norm", "interference", "dimensionality"].includes(state.map)) {
    if (state.of === "typical") return part(`typical_${state.map}`, cell)[i];
    const W = weightsOf(cell);
    return {norm: norms, interference, dimensionality}[state.map](W)[i];
  }
  return part(state.map, cell)[0];
}

// What may be shown of the current case: [key, label] of every choice.
function maps() {
  const found = [];
  if (has("phase")) found.push("phase", "superposed");
  if (has("W")) found.push("norm", "interference", "dimensionality");
  found.push("loss", ...current().maps.map(map => map.key));
  return found.map(key => [key, LABELS[key] || current().arrays[key].long_name || key]);
}

function sources() {
  const single = ["phase", "superposed"].includes(state.map), length = ["norm", "interference"].includes(state.map);
  const found = [["best", "best restart"]];
  if ((single && has("optimum_phase")) || ((length || state.map === "dimensionality") && has("optimum_W"))) {
    found.push(["optimum", "optimum"]);
  }
  if ((single && has("typical_phase")) || (length && has("typical_norm"))) found.push(["typical", "typical of restarts"]);
  return found;
}

const ofFeatures = () => ["phase", "norm", "interference", "dimensionality"].includes(state.map);

function choice(label, options, chosen, change) {
  const box = document.createElement("label"), select = document.createElement("select");
  box.textContent = label;
  for (const [value, text] of options) select.add(new Option(text, value, false, String(value) === String(chosen)));
  select.name = label;
  select.addEventListener("change", () => change(select.value));
  box.append(select);
  return box;
}

function slider(axis, k) {
  const box = document.createElement("label"), input = document.createElement("input");
  const text = () => `${axis.label} = ${number(axis.values[state.further[k]])}`;
  const words = document.createElement("span");
  words.textContent = text();
  Object.assign(input, {type: "range", min: 0, max: axis.values.length - 1, value: state.further[k], name: axis.name});
  input.addEventListener("input", () => {
    state.further[k] = Number(input.value);
    words.textContent = text();
    drawMap();
  });
  box.append(words, input);
  return box;
}

function drawControls() {
  const form = at("controls"), {axes, n} = current();
  const keep = (list, value) => list.some(([key]) => key === value) ? value : list[0][0];
  state.map = keep(maps(), state.map);
  state.of = keep(sources(), state.of);
  state.feature = Math.min(state.feature, n - 1);
  const parts = [];
  if (content.cases.length > 1) {
    parts.push(choice("case", content.cases.map((c, k) => [k, c.name]), state.case, value => chooseCase(Number(value))));
  }
  parts.push(choice("map", maps(), state.map, value => { state.map = value; drawAll(); }));
  if (sources().length > 1) parts.push(choice("of", sources(), state.of, value => { state.of = value; drawAll(); }));
  if (ofFeatures() && n > 1) {
    const features = Array.from({length: n}, (_, i) => [i, i === n - 1 ? `${i} (last)` : i]);
    parts.push(choice("feature", features, state.feature, value => { state.feature = Number(value); drawAll(); }));
  }
  axes.slice(0, -2).forEach((axis, k) => parts.push(slider(axis, k)));
  form.replaceChildren(...parts);
}

// Edges of the cells around points, as in the figures: midway between neighbours.
function edges(values, log) {
  const x = log ? values.map(Math.log) : values, middle = x.slice(1).map((v, k) => (v + x[k]) / 2);
  const every = [2 * x[0] - middle[0], ...middle, 2 * x[x.length - 1] - middle[middle.length - 1]];
  return log ? every.map(Math.exp) : every;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return {ink: style.getPropertyValue("--ink").trim(), line: style.getPropertyValue("--line").trim()};
}

function layout(more) {
  const {ink, line} = colours();
  const axis = {gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, fixedrange: true};
  const {xaxis, yaxis, ...rest} = more;
  return {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: ink, size: 12}, showlegend: false,
    margin: {l: 50, r: 12, t: 28, b: 40}, dragmode: false, xaxis: {...axis, ...xaxis}, yaxis: {...axis, ...yaxis}, ...rest};
}

const PLAIN = {displayModeBar: false, responsive: true};

// Ticks as in the figures: at the points where these are few, at 1, 2 and 5 along up to two decades; none too near.
function ticks(values, log, [low, high]) {
  const place = v => ((log ? Math.log10(v) : v) - low) / (high - low), kept = [];
  const steps = [1, 2, 5].flatMap(digit => Array.from({length: 5}, (_, k) => digit * 10 ** (Math.floor(low) + k)));
  if (values.length > FEW && !(log && high - low <= 2.1)) return {dtick: log ? 1 : undefined};
  for (const v of values.length > FEW ? steps : values) {
    if (place(v) >= 0 && place(v) <= 1 && kept.every(k => Math.abs(place(v) - place(k)) > 0.06)) kept.push(v);
  }
  return {tickvals: kept, ticktext: kept.map(v => String(Number(v.toPrecision(3))))};
}

function axisOf({label, log, values}) {
  const ends = edges(values, log).map(v => log ? Math.log10(v) : v), range = [Math.min(...ends), Math.max(...ends)];
  return {title: {text: literal(label)}, type: log ? "log" : "linear", range, ...ticks(values, log, range)};
}

function drawMap() {
  const [ax, ay] = current().axes.slice(-2), z = [];
  for (let y = 0; y < ay.values.length; y++) {
    z.push(Array.from({length: ax.values.length}, (_, x) => valueAt(cellAt(x, y))));
  }
  const {scale, range} = current().maps.find(map => map.key === state.map) || {};
  const log = state.map === "loss" || scale === "log";
  const finite = z.flat().filter(v => Number.isFinite(v) && (!log || v > 0));
  view.z = z;
  view.log = log;
  const shown = log ? z.map(row => row.map(v => v > 0 ? Math.log10(v) : NaN)) : z;
  const top = finite.reduce((a, b) => Math.max(a, b), -Infinity), low = finite.reduce((a, b) => Math.min(a, b), Infinity);
  const heat = {type: "heatmap", x: edges(ax.values, ax.log), y: edges(ay.values, ay.log), z: shown, hoverinfo: "none"};
  if (state.map === "phase") {
    const k = PHASES.length;
    Object.assign(heat, {zmin: -0.5, zmax: k - 0.5, showscale: false,
      colorscale: PHASES.flatMap(({colour}, p) => [[p / k, colour], [(p + 1) / k, colour]])});
  } else {
    const unit = scale === "fraction" || state.map === "dimensionality";
    Object.assign(heat, {colorscale: log ? "Cividis" : "Viridis", zmin: log ? Math.log10(low) : unit ? 0 : Math.min(0, low),
      zmax: log ? Math.log10(top) : unit ? 1 : state.map === "superposed" ? current().n : top,
      colorbar: {thickness: 14, title: {text: log ? "log₁₀" : ""}}});
    if (state.map === "interference") heat.zmax = Math.min(top, 1);
    if (range) [heat.zmin, heat.zmax] = range.map(Math.log10);
  }
  const title = `${Object.fromEntries(maps())[state.map]}${ofFeatures() ? `, feature ${state.feature}` : ""}`;
  view.hatches = hatches([ax, ay]);
  Plotly.react("map", [heat, view.hatches, ...boundaries()], layout({title: {text: literal(title), font: {size: 14}}, xaxis: axisOf(ax),
    yaxis: axisOf(ay), shapes: mark()}), PLAIN);
  drawLegend();
  const {whole} = current(), points = ax.values.length * ay.values.length, notes = [];
  if (whole) notes.push(`To keep this page small it has ${points} of ${whole} points of the map; the dataset has all.`);
  if (content.left_out.length) notes.push(`Not here, without maps or too large: ${content.left_out.join(", ")}.`);
  at("note").textContent = notes.join(" ");
  drawCell();
}

function drawLegend() {
  const lost = state.map === "phase" && view.z.some(row => row.includes(DIVERGED));
  const chips = state.map === "phase" ? PHASES.slice(0, lost ? PHASES.length : DIVERGED) : [];
  at("legend").replaceChildren(...chips.map(({name, colour}) => {
    const chip = document.createElement("span"), patch = document.createElement("i");
    patch.style.background = colour;
    chip.append(patch, name.replace("_", " "));
    return chip;
  }), [view.hatches.x.length && "hatched: on the direction of another feature (merged)",
    current().lines.some(line => !line.band) && "white line: boundary that was searched",
    current().lines.some(line => line.band) && "dashed: ends of the band of the restarts"].filter(Boolean).join("; "));
}

// The outline of the chosen cell.
function mark() {
  const [ax, ay] = current().axes.slice(-2), x = edges(ax.values, ax.log), y = edges(ay.values, ay.log);
  return [4, 2].map((width, k) => ({type: "rect", x0: x[state.x], x1: x[state.x + 1], y0: y[state.y],
    y1: y[state.y + 1], line: {width, color: k ? "#ffffff" : "#000000"}}));
}

function drawCell() {
  const cell = cellAt(state.x, state.y), {axes, n} = current(), shownOf = state.of === "optimum" ? "optimum" : "best restart";
  const places = [...state.further, state.x, state.y];
  const where = axes.map((axis, k) => `${axis.name} = ${number(axis.values[places[k]])}`);
  const value = view.z[state.y][state.x];
  const words = state.map === "phase" ? PHASES[value].name.replace("_", " ") + (merged(cell) ? ", merged" : "")
    : number(value);
  const solutions = current().solutions, best = part("best", cell)[0];
  const solution = solutions && state.of !== "optimum" ? `; solution: ${solutions[part("solution", cell)[best]]}` : "";
  at("cell").textContent = `${where.join(", ")}; ${Object.fromEntries(maps())[state.map]}`
    + `${ofFeatures() ? ` of feature ${state.feature}` : ""}: ${words}${solution}`;
  remember();
  drawWeights(cell, n, shownOf);
  drawLosses(cell);
}

// Labels of the ends of arrows; ends nearer than that to each other have one together.
function labels(ends, near) {
  const groups = [];
  ends.forEach(([x, y], i) => {
    const group = groups.find(([k]) => Math.hypot(ends[k][0] - x, ends[k][1] - y) < near);
    if (group) group.push(i); else groups.push([i]);
  });
  const texts = ends.map(() => "");
  for (const group of groups) texts[group[0]] = ` ${group.slice(0, 5).join(", ")}${group.length > 5 ? ", …" : ""}`;
  return texts;
}

function drawWeights(cell, n, shownOf) {
  const W = weightsOf(cell);
  for (const id of ["weights", "gram", "norms"]) at(id).classList.toggle("hidden", !W);
  if (!W) return;
  const m = W.length, key = state.of === "optimum" ? "optimum_phase" : "phase";
  const phases = state.of === "optimum" ? part(key, cell) : part(key, cell, part("best", cell)[0]);
  const colour = i => PHASES[phases[i]].colour, {ink} = colours();
  at("weights").classList.toggle("hidden", m > 2);
  if (m <= 2) {
    const ends = W[0].map((w, i) => m === 1 ? [w, n - 1 - i] : [w, W[1][i]]);
    const reach = 1.3 * Math.max(1, ...W.flat().map(Math.abs));
    const arrows = ends.map(([x, y], i) => ({x, y, ax: 0, ay: m === 1 ? y : 0, xref: "x", yref: "y", axref: "x",
      ayref: "y", showarrow: true, arrowhead: 2, arrowwidth: 2.5, arrowcolor: colour(i), text: ""}));
    Plotly.react("weights", [{type: "scatter", mode: "markers+text", x: ends.map(e => e[0]), y: ends.map(e => e[1]),
      text: labels(ends, m === 1 ? 0 : 0.1 * reach), textposition: "top right", marker: {size: 6, color: ends.map((_, i) => colour(i))},
      hovertext: ends.map((_, i) => `feature ${i}`), hoverinfo: "x+text", cliponaxis: false}],
    layout({title: {text: `columns of W, ${shownOf}`, font: {size: 13}}, annotations: arrows,
      xaxis: {range: [-reach, reach], constrain: "domain", zeroline: true, title: {text: m === 1 ? "weight" : ""}},
      yaxis: m === 1 ? {range: [-0.7, n - 0.3], tickvals: ends.map(e => e[1]), ticktext: ends.map((_, i) => `${i}`),
        title: {text: "feature"}, zeroline: false} : {range: [-reach, reach], scaleanchor: "x",
        constrain: "domain"}}), PLAIN);
  }
  const gram = W[0].map((_, i) => W[0].map((__, j) => dot(W, i, j)));
  Plotly.react("gram", [{type: "heatmap", z: gram, zmin: -1, zmax: 1, colorscale: "RdBu", reversescale: false,
    colorbar: {thickness: 10}, hovertemplate: "WᵀW[%{y}, %{x}] = %{z:.4g}<extra></extra>"}],
  layout({title: {text: "WᵀW", font: {size: 13}}, xaxis: {...whole(n), constrain: "domain"},
    yaxis: {autorange: "reversed", ...whole(n), scaleanchor: "x", constrain: "domain"}}), PLAIN);
  const biasKey = state.of === "optimum" ? "optimum_b" : "b";
  const features = W[0].map((_, i) => i), traces = [{type: "bar", name: "norm", x: features, y: norms(W),
    marker: {color: features.map(colour)}, hovertemplate: "norm of %{x}: %{y:.4g}<extra></extra>"}];
  if (has(biasKey)) {
    traces.push({type: "scatter", mode: "markers", x: features, y: Array.from(part(biasKey, cell)),
      marker: {symbol: "diamond", size: 8, color: ink}, hovertemplate: "b of %{x}: %{y:.4g}<extra></extra>"});
  }
  Plotly.react("norms", traces, layout({title: {text: has(biasKey) ? "norms (bars), b (diamonds)" : "norms", font: {size: 13}},
    xaxis: {title: {text: "feature"}, ...whole(n)}}), PLAIN);
}

function drawLosses(cell) {
  const loss = Array.from(part("loss", cell)), rank = r => Number.isFinite(loss[r]) ? loss[r] : Infinity,
    order = loss.map((_, r) => r).sort((a, b) => rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : a - b);
  const {ink} = colours(), i = state.feature;
  const phaseOf = r => has("phase") ? PHASES[part("phase", cell, r)[i]] : {name: "", colour: ink};
  const shapes = has("optimum_loss") ? [{type: "line", xref: "paper", x0: 0, x1: 1, y0: part("optimum_loss", cell)[0],
    y1: part("optimum_loss", cell)[0], line: {color: ink, dash: "dot", width: 1.5}}] : [];
  const words = `loss of every restart${has("phase") ? `, by the phase of feature ${i}` : ""}${shapes.length ? "; dotted: optimum" : ""}`;
  Plotly.react("losses", [{type: "scatter", mode: "markers", x: order.map((_, k) => k + 1), y: order.map(r => loss[r]),
    customdata: order.map(r => [r, phaseOf(r).name.replace("_", " ")]), marker: {size: 9, color: order.map(r => phaseOf(r).colour),
      line: {color: ink, width: 0.5}},
    hovertemplate: "restart %{customdata[0]}: %{y:.5g} %{customdata[1]}<extra></extra>"}],
  layout({title: {text: words, font: {size: 13}}, shapes, xaxis: {title: {text: "restarts, best first"}, ...whole(loss.length, 1)},
    yaxis: {title: {text: "loss"}, exponentformat: "e"}}), PLAIN);
}

// The cell is in the address, so that it can be passed on.
let waiting = null;
function remember() {
  const words = new URLSearchParams({case: current().name, map: state.map, of: state.of, feature: state.feature,
    further: state.further.join("."), x: state.x, y: state.y});
  const link = document.createElement("a");
  link.href = `#${words}`;
  link.textContent = "link to this cell";
  if (location.protocol !== "about:") at("link").replaceChildren(link);
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (location.protocol !== "about:") history.replaceState(null, "", `#${words}`);  // within a notebook it has none
  }, 200);
}

function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  const chosen = content.cases.findIndex(c => c.name === words.get("case"));
  chooseCase(Math.max(chosen, 0), false);
  const whole = (text, most) => Math.min(Math.max(Number.parseInt(text, 10) || 0, 0), most);
  const [nx, ny] = sizes().slice(-2);
  if (words.has("map")) state.map = words.get("map");
  if (words.has("of")) state.of = words.get("of");
  if (words.has("feature")) state.feature = whole(words.get("feature"), current().n - 1);
  const further = (words.get("further") || "").split(".");
  state.further = state.further.map((k, axis) => whole(further[axis], sizes()[axis] - 1));
  if (words.has("x")) Object.assign(state, {x: whole(words.get("x"), nx - 1), y: whole(words.get("y"), ny - 1), kept: true});
}

function chooseCase(k, draw = true) {
  state.case = k;
  state.further = sizes().slice(0, -2).map(() => 0);
  const [nx, ny] = sizes().slice(-2);
  Object.assign(state, {x: nx >> 1, y: ny >> 1, kept: false, feature: current().n - 1});
  if (draw) drawAll();
}

function drawAll() {
  drawControls();
  drawMap();
}

let drawing = false;
function choose(x, y) {
  const [nx, ny] = sizes().slice(-2);
  state.x = Math.min(Math.max(x, 0), nx - 1);
  state.y = Math.min(Math.max(y, 0), ny - 1);
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    Plotly.relayout("map", {shapes: mark()});
    drawCell();
  });
}

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

function listen() {
  const map = at("map"), place = event => event.points[0].pointIndex || event.points[0].pointNumber;
  map.on("plotly_hover", event => { if (!state.kept) choose(place(event)[1], place(event)[0]); });
  map.on("plotly_click", event => { state.kept = true; choose(place(event)[1], place(event)[0]); });
  document.addEventListener("keydown", event => {
    if (event.target instanceof HTMLSelectElement || event.target instanceof HTMLInputElement) return;
    if (event.key === "Escape") state.kept = false;
    const up = current().axes.at(-1).values, right = current().axes.at(-2).values;
    const sign = values => values[0] <= values[values.length - 1] ? 1 : -1;
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1]}[event.key];
    if (!step) return;
    event.preventDefault();
    state.kept = true;
    choose(state.x + step[0] * sign(right), state.y + step[1] * sign(up));
  });
  at("theme").addEventListener("click", () => {
    theme(document.documentElement.dataset.theme !== "dark");
    drawMap();
  });
  window.addEventListener("hashchange", () => { recall(); drawAll(); });
}

async function start() {
  document.title = content.title;
  at("title").textContent = content.title;
  theme(window.matchMedia("(prefers-color-scheme: dark)").matches);
  await Promise.all(content.cases.flatMap(c => Object.values(c.arrays).map(unpack)));
  recall();
  drawAll();
  listen();
  document.body.dataset.ready = "yes";
}

start();
