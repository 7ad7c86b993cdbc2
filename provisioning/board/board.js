"use strict";
// The board's page: what the stream of events tells is kept in `seats` and shown. Everything that came from a machine is
// set as text and never as markup.

const LIGHTS = {
  red: { rank: 0, word: "Help", one: "needs help", many: "need help" },
  amber: { rank: 1, word: "Look", one: "to look at", many: "to look at" },
  none: { rank: 2, word: "Wait", one: "not seen yet", many: "not seen yet" },
  green: { rank: 3, word: "Well", one: "well", many: "well" },
};
const SILENT_SECONDS = 20; // without a word, the board's process hangs
const AGAIN_SECONDS = 3;
const STILL_SECONDS = 8; // so long without a move, the pointer is not about to click
const GATHER_SECONDS = 1.5; // changes that are told together
const MOST_TOLD = 3; // changes that are told by name
const TILE_REMS = { width: 12.5, height: 7.5 }; // of a tile at scale 1; its height stands in board.css, too
const LEAST_SCALE = 0.85; // smaller, a name can't be read from afar: the page is scrolled instead
const MOST_SCALE = 2.6;
const LONG_NAMES = ["long", "longer", "longest"]; // how a name is set that needs more room

const $ = (id) => document.getElementById(id);
const dialog = $("details");
const seats = new Map(); // id -> {tile: what was told, item: the list's item, place: in the roster}
const filters = { lights: new Set(), text: "", sort: "need" };
let open = null; // the id of the seat whose details are shown
let lastWord = performance.now();
let lastMove = -Infinity;
let overGrid = false;
let current = null; // the id of the tile that the keyboard stops at

// Words

const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;
const sentence = (text) => text && text[0].toUpperCase() + text.slice(1);
const gib = (mib) => `${(mib / 1024).toFixed(mib < 10240 ? 1 : 0)} GiB`;
const span = (seconds) => seconds < 100 ? `${Math.round(seconds)} s` : seconds < 6000 ? `${Math.round(seconds / 60)} min`
  : `${Math.round(seconds / 3600)} h`;
const lateness = (tile) => tile.last_seen === null ? "" : `last seen ${span(Math.max(Date.now() / 1000 - tile.last_seen, 0))} ago`;
const reasonOf = (tile) => tile.job && tile.job.state === "running" ? `${tile.job.words} …` : tile.reason;

function memoryOf(facts) {
  if (!("memory_free_mib" in facts) || !facts.memory_mib) return "";
  return `${Math.round(100 - 100 * facts.memory_free_mib / facts.memory_mib)} %`;
}

function idleOf(facts) {
  if (!facts.kernels || !("idle_minutes" in facts)) return "";
  if (facts.busy) return `${facts.busy} busy`;
  return facts.idle_minutes < 1 ? "active" : `idle ${facts.idle_minutes < 100 ? `${facts.idle_minutes} min` : span(facts.idle_minutes * 60)}`;
}

function factsLine(facts) {
  return [
    "tunnels" in facts && count(facts.tunnels, "tunnel", "tunnels"),
    "kernels" in facts && count(facts.kernels, "kernel", "kernels"),
    idleOf(facts),
    memoryOf(facts) && `memory ${memoryOf(facts)}`,
    facts.gpu && `GPU ${facts.gpu}`,
    "free_mib" in facts && `${gib(facts.free_mib)} free`,
  ].filter(Boolean).map((fact) => fact.replaceAll(" ", "\u00a0")).join(" · ");
}

function factsTable(tile) {
  const facts = tile.facts;
  const passwords = { yes: "the seminar's", token: "a token in its place", other: "another one, set by hand", no: "none" };
  return [
    ["Seat", tile.id],
    ["Jupyter", facts.state],
    ["Started", facts.since],
    ["Password", passwords[facts.password]],
    ["Connected", "tunnels" in facts ? count(facts.tunnels, "tunnel", "tunnels") : ""],
    ["Kernels", "kernels" in facts ? [count(facts.kernels, "kernel", "kernels"), idleOf(facts)].filter(Boolean).join(", ") : ""],
    ["Disk", "free_mib" in facts ? `${gib(facts.free_mib)} free${facts.disk_mib ? ` of ${gib(facts.disk_mib)}` : ""}` : ""],
    ["Memory", memoryOf(facts) && `${memoryOf(facts)} of ${gib(facts.memory_mib)} in use`],
    ["GPU", facts.gpu],
  ].filter(([, value]) => value);
}

// A tile

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setState(element, tile) {
  const icon = element.querySelector(".icon");
  icon.dataset.light = tile.light;
  icon.firstElementChild.setAttribute("href", `#icon-${tile.light}`);
  setText(element.querySelector(".word"), `${LIGHTS[tile.light].word}:`);
  setText(element.querySelector(".reason"), reasonOf(tile));
}

function drawTile({ tile, item }) {
  const button = item.firstElementChild;
  setText(button.querySelector(".name"), tile.name);
  button.dataset.light = tile.light;
  setState(button, tile);
  setText(button.querySelector(".facts"), factsLine(tile.facts));
  setText(button.querySelector(".late"), lateness(tile));
}

function addTile(tile) {
  const item = $("tile").content.firstElementChild.cloneNode(true);
  item.dataset.id = tile.id;
  item.firstElementChild.addEventListener("click", () => showDetails(tile.id));
  const seat = { tile, item, place: seats.size };
  seats.set(tile.id, seat);
  return seat;
}

// What is shown, and in which order

function fits({ tile }) {
  const words = `${tile.name} ${tile.id} ${reasonOf(tile)}`.toLowerCase();
  return (!filters.lights.size || filters.lights.has(tile.light)) && words.includes(filters.text);
}

function inOrder() {
  const by = {
    roster: (one, other) => one.place - other.place,
    name: (one, other) => one.tile.name.localeCompare(other.tile.name) || one.place - other.place,
    need: (one, other) => LIGHTS[one.tile.light].rank - LIGHTS[other.tile.light].rank || one.place - other.place,
  }[filters.sort];
  return [...seats.values()].sort(by);
}

// A tile that moves away under the pointer, or under the keyboard's stop, would be missed.
const isAimedAt = () => dialog.open
  || ((overGrid || $("seats").contains(document.activeElement)) && performance.now() - lastMove < STILL_SECONDS * 1000);

function arrange({ now = false } = {}) {
  const list = $("seats");
  if (now || list.children.length !== seats.size || !isAimedAt()) {
    const wanted = inOrder().map(({ item }) => item);
    const hadFocus = list.contains(document.activeElement);
    for (const seat of seats.values()) seat.item.hidden = !fits(seat);
    if (wanted.some((item, place) => list.children[place] !== item)) move(list, wanted);
    if (hadFocus && !list.contains(document.activeElement)) $("filter").focus(); // the tile that had it is hidden now
  }
  const shown = [...list.children].filter((item) => !item.hidden);
  $("none").hidden = shown.length > 0 || !seats.size;
  if (!shown.some((item) => item.dataset.id === current)) current = shown.length ? shown[0].dataset.id : null;
  for (const item of list.children) item.firstElementChild.tabIndex = item.dataset.id === current ? 0 : -1;
  fit(shown.length);
}

function move(list, wanted) {
  const gentle = !matchMedia("(prefers-reduced-motion: reduce)").matches && list.children.length;
  const before = gentle && new Map(wanted.map((item) => [item, item.getBoundingClientRect()]));
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  list.replaceChildren(...wanted);
  if (focused) focused.focus({ preventScroll: true });
  if (!gentle) return;
  for (const item of wanted) {
    const [one, other] = [before.get(item), item.getBoundingClientRect()];
    if (!one.width || (one.left === other.left && one.top === other.top)) continue;
    const from = `translate(${one.left - other.left}px, ${one.top - other.top}px)`;
    item.animate([{ transform: from }, { transform: "none" }], { duration: 400, easing: "ease-in-out" });
  }
}

// As large as all tiles may be with nobody below the edge, or as can be read.
function fit(shown) {
  const list = $("seats");
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const gap = 0.5 * rem;
  const width = list.clientWidth;
  const height = innerHeight - (list.getBoundingClientRect().top + scrollY) - 0.6 * rem;
  const scaleOf = (columns) => {
    const rows = Math.ceil(Math.max(shown, 1) / columns);
    return Math.min((width - gap * (columns - 1)) / columns / (TILE_REMS.width * rem),
      (height - gap * (rows - 1)) / rows / (TILE_REMS.height * rem));
  };
  let columns = 1;
  for (let more = 2; more <= shown; more += 1) if (scaleOf(more) > scaleOf(columns)) columns = more;
  let scale = scaleOf(columns);
  if (scale < LEAST_SCALE) {
    scale = 1;
    columns = Math.max(1, Math.floor((width + gap) / (TILE_REMS.width * rem + gap)));
  }
  list.style.setProperty("--columns", columns);
  list.style.setProperty("--scale", Math.min(scale, MOST_SCALE).toFixed(3));
  fitNames(`${columns} ${width} ${scale.toFixed(3)} ${shown} ${seats.size}`);
  fitFacts();
}

let fitted = "";

function fitNames(to) {
  if (to === fitted) return;
  fitted = to;
  let names = [...document.querySelectorAll("#seats .name")];
  for (const name of names) name.classList.remove(...LONG_NAMES);
  for (const long of LONG_NAMES) {
    names = names.filter((name) => name.scrollHeight > 1.25 * name.clientHeight); // a line more, and not a letter's tail
    for (const name of names) name.classList.add(long);
  }
}

// The facts get the lines that the name and the reason leave.
function fitFacts() {
  const all = [...document.querySelectorAll("#seats > :not([hidden]) > .tile")].map((tile) => {
    const [name, state, facts] = [".name", ".state > span", ".facts"].map((each) => tile.querySelector(each));
    const style = getComputedStyle(tile);
    const room = tile.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom)
      - 2 * parseFloat(style.rowGap) - name.offsetHeight - state.offsetHeight;
    return { facts, lines: String(Math.max(1, Math.floor(room / parseFloat(getComputedStyle(facts).lineHeight)))) };
  });
  for (const { facts, lines } of all) {
    if (facts.style.getPropertyValue("--lines") !== lines) facts.style.setProperty("--lines", lines);
  }
}

// The counts, which are filters as well

for (const [light, { word }] of Object.entries(LIGHTS)) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.light = light;
  button.setAttribute("aria-pressed", "false");
  const icon = $("tile").content.querySelector(".icon").cloneNode(true);
  icon.dataset.light = light;
  icon.firstElementChild.setAttribute("href", `#icon-${light}`);
  button.append(icon, document.createElement("span"));
  button.addEventListener("click", () => {
    const on = !filters.lights.delete(light);
    if (on) filters.lights.add(light);
    button.setAttribute("aria-pressed", String(on));
    arrange({ now: true });
  });
  $("lights").append(button);
}

function numbers() {
  const found = Object.fromEntries(Object.keys(LIGHTS).map((light) => [light, 0]));
  for (const { tile } of seats.values()) found[tile.light] += 1;
  return found;
}

const inWords = (light, number) => count(number, LIGHTS[light].one, LIGHTS[light].many);

function drawCounts() {
  const found = numbers();
  for (const button of $("lights").children) {
    const light = button.dataset.light;
    setText(button.lastElementChild, inWords(light, found[light]));
    button.hidden = light === "none" && !found[light] && !filters.lights.has(light);
  }
  document.title = `${found.red ? `(${found.red}) ` : ""}${$("seminar").textContent}: ${inWords("red", found.red)}`;
}

// What a screen reader is told: changes of a light, by name where they are few

const changes = new Map(); // id -> the light before
let telling = null;

function noteChange(seat, before) {
  if (!changes.has(seat.tile.id)) changes.set(seat.tile.id, before);
  telling ??= setTimeout(tell, GATHER_SECONDS * 1000);
}

function tell() {
  telling = null;
  const changed = [...changes].map(([id, before]) => ({ ...seats.get(id), before }))
    .filter(({ tile, before }) => tile && tile.light !== before);
  changes.clear();
  const first = changed.filter(({ before }) => before === "none").length;
  if (!changed.length) return;
  if (first || changed.length > MOST_TOLD) {
    const found = numbers();
    const told = Object.keys(LIGHTS).filter((light) => found[light]).map((light) => inWords(light, found[light]));
    setText($("told"), `${told.join(", ")}.`);
  } else {
    setText($("told"), changed.map(({ tile }) => `${tile.name}: ${tile.reason}.`).join(" "));
  }
}

// The keyboard: one stop for all tiles, arrows between them

$("seats").addEventListener("keydown", (event) => {
  lastMove = performance.now();
  const shown = [...$("seats").children].filter((item) => !item.hidden);
  const here = shown.indexOf(document.activeElement.closest("li"));
  const columns = Number($("seats").style.getPropertyValue("--columns"));
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -here, End: shown.length - 1 - here }[event.key];
  if (step === undefined || here < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  if (shown[here + step]) stopAt(shown[here + step]);
});
$("seats").addEventListener("focusin", (event) => {
  lastMove = performance.now();
  const item = event.target.closest("li");
  if (item.dataset.id !== current) stopAt(item);
});

function stopAt(item) {
  current = item.dataset.id;
  for (const each of $("seats").children) each.firstElementChild.tabIndex = each === item ? 0 : -1;
  item.firstElementChild.focus();
}

$("seats").addEventListener("pointermove", () => { overGrid = true; lastMove = performance.now(); });
$("seats").addEventListener("pointerleave", () => { overGrid = false; });

// Details

let logAsked = 0;

function showDetails(id) {
  open = id;
  logAsked += 1;
  $("log").hidden = true;
  $("confirm").hidden = true;
  setText($("job"), "");
  drawDetails();
  dialog.showModal();
  dialog.scrollTop = 0;
}

function setPrinted(box, pre, text) {
  box.hidden = !text;
  setText(pre, text);
}

function drawDetails() {
  const { tile } = seats.get(open);
  setText($("details-name").firstElementChild, tile.name);
  $("details-state").dataset.light = tile.light;
  setState($("details-state"), { ...tile, job: null });
  setText($("details-late"), sentence(lateness(tile)));
  setPrinted($("evidence"), $("evidence").querySelector("pre"), tile.evidence);
  const rows = factsTable(tile);
  const flat = rows.flat().join("\n");
  if ($("facts").dataset.drawn !== flat) {
    $("facts").dataset.drawn = flat;
    $("facts").replaceChildren(...rows.flatMap(([term, value]) => [["dt", term], ["dd", value]].map(([kind, text]) => {
      const element = document.createElement(kind);
      element.textContent = text;
      return element;
    })));
  }
  const job = tile.job || { state: "", words: "", evidence: "" };
  $("restart").setAttribute("aria-disabled", String(job.state === "running"));
  setText($("job"), job.words && `${sentence(job.words)}${job.state === "running" ? " …" : "."}`);
  setPrinted($("job-evidence"), $("job-evidence"), job.evidence);
}

dialog.addEventListener("close", () => {
  const { item } = seats.get(open);
  open = null;
  arrange({ now: true });
  if (item.hidden) $("filter").focus();
  else stopAt(item); // also where the tile was moved meanwhile
});
$("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog && isOutside(event)) dialog.close(); });

function isOutside({ clientX, clientY }) {
  const box = dialog.getBoundingClientRect();
  return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
}

$("show-log").addEventListener("click", async () => {
  const asked = logAsked += 1;
  const pre = $("log").querySelector("pre");
  $("log").hidden = false;
  setText($("log-said"), "Fetching the log …");
  let told = { log: "", fault: "the board does not answer" };
  try {
    const answer = await fetch(`seats/${open}/log`);
    told = answer.ok ? await answer.json() : { log: "", fault: (await answer.text()).trim() };
  } catch { /* as above */ }
  if (asked !== logAsked) return; // another seat is shown by now
  setText($("log-said"), told.fault ? `${sentence(told.fault)}.` : told.log ? "" : "The log is empty.");
  pre.hidden = !told.log;
  setText(pre, told.log);
  pre.scrollTop = pre.scrollHeight;
  $("log").scrollIntoView({ block: "nearest" });
});

$("restart").addEventListener("click", () => {
  if ($("restart").getAttribute("aria-disabled") === "true") return;
  $("confirm").hidden = false;
  $("keep").focus();
});
$("keep").addEventListener("click", () => {
  $("confirm").hidden = true;
  $("restart").focus();
});
$("restart-now").addEventListener("click", async () => {
  $("confirm").hidden = true;
  $("restart").focus();
  setText($("job"), "Restarting the notebook …");
  try {
    const answer = await fetch(`seats/${open}/restart`, { method: "POST" });
    if (!answer.ok) setText($("job"), (await answer.text()).trim());
  } catch {
    setText($("job"), "The board does not answer; nothing was restarted.");
  }
});

// Filter and order

$("filter").addEventListener("input", () => {
  filters.text = $("filter").value.trim().toLowerCase();
  arrange({ now: true });
});
$("sort").addEventListener("change", () => {
  filters.sort = $("sort").value;
  arrange({ now: true });
});
addEventListener("resize", () => arrange());

// The stream

function take(told) {
  for (const patch of told) {
    let seat = seats.get(patch.id);
    const before = seat ? seat.tile.light : "none";
    if (seat) seat.tile = { ...seat.tile, ...patch };
    else seat = addTile(patch);
    drawTile(seat);
    if (seat.tile.light !== before) noteChange(seat, before);
  }
  drawCounts();
  arrange();
  if (open !== null) drawDetails();
}

function setLine(text) {
  setText($("line"), text);
  $("line").hidden = !text;
  document.body.classList.toggle("broken", Boolean(text));
  fit([...$("seats").children].filter((item) => !item.hidden).length);
}

function heard() {
  lastWord = performance.now();
  if (!$("line").hidden) setLine("");
}

function listen() {
  const stream = new EventSource("events");
  stream.addEventListener("all", (event) => {
    const told = JSON.parse(event.data);
    heard();
    setText($("seminar"), told.seminar);
    take(told.seats);
  });
  stream.addEventListener("some", (event) => { heard(); take(JSON.parse(event.data).seats); });
  stream.addEventListener("beat", heard);
  stream.addEventListener("error", () => {
    setLine("The connection to the board is lost; what you see may be old. Trying again …");
    if (stream.readyState === EventSource.CLOSED) again();
  });
}

// The browser has given up: is the board away, or did it refuse, as another board in its place would?
async function again() {
  try {
    const answer = await fetch("icon.svg", { cache: "no-store" });
    if (!answer.ok) {
      setLine("This board has ended. Start `fab board` again, and open the address that it prints.");
      return;
    }
  } catch { /* away */ }
  setTimeout(listen, AGAIN_SECONDS * 1000);
}

setInterval(() => {
  const silent = (performance.now() - lastWord) / 1000;
  if (silent > SILENT_SECONDS && $("line").hidden) setLine("The board has said nothing for a while; what you see may be old.");
  for (const seat of seats.values()) {
    if (seat.tile.last_seen !== null) setText(seat.item.querySelector(".late"), lateness(seat.tile));
  }
  if (open !== null) setText($("details-late"), sentence(lateness(seats.get(open).tile)));
  arrange();
}, 1000);

listen();
