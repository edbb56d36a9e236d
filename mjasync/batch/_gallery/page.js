"use strict";

const STATES = {
  saved: ["saved", "Saved"],
  planned: ["planned", "Waiting"],
  submitting: ["running", "Being sent"],
  accepted: ["running", "Under way"],
  finished: ["running", "Being saved"],
  uncertain: ["uncertain", "Uncertain"],
  failed: ["failed", "Failed"],
};
const GROUPS = { saved: "Saved", running: "Under way", planned: "Waiting", failed: "Failed", uncertain: "Uncertain" };
const THEMES = { auto: "as the system is", light: "light", dark: "dark" };
const UNSURE = "It was sent, and nobody can tell whether the server took it.";
const FLAG = /(?:^|\s)--(?=[a-z])/i;
const AT_ONCE = 40; // cards
const AHEAD = "1200px 0px";
const TILES = 6;
const AGAIN = [4, 60]; // seconds between two looks at a batch under way

const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const store = {
  get(where, key) { try { return where().getItem(key); } catch { return null; } },
  set(where, key, value) { try { where().setItem(key, value); } catch { /* private windows */ } },
};
const local = () => localStorage;
const session = () => sessionStorage;
const HERE = `mjasync:${location.pathname}`;

root.dataset.theme = store.get(local, "mjasync:theme") || "auto"; // before anything is painted

// --- building: text is only ever text -----------------------------------------------------------

function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

const tinted = (element, file) => {
  if (file && file.colour) element.style.setProperty("--tint", `#${file.colour}`);
  return element;
};
const url = (path) => `./${path.split("/").map((part) => encodeURIComponent(part.toWellFormed())).join("/")}`;
const count = (number) => number.toLocaleString("en");
const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
const cut = (text, length) => (text.length > length ? `${text.slice(0, length).replace(/[\ud800-\udbff]$/, "")}…` : text);
const bytes = (size) => (size < 1e6 ? `${Math.max(1, Math.round(size / 1e3))} kB` : `${(size / 1e6).toFixed(1)} MB`);

// --- what there is ------------------------------------------------------------------------------

let facts, jobs;
const byKey = new Map();

function read() {
  facts = JSON.parse($("facts").textContent);
  jobs = facts.jobs;
  jobs.forEach((job, index) => {
    const parent = byKey.get(job.parent);
    byKey.set(job.key, job);
    job.index = index;
    job.up = parent;
    job.children = [];
    job.files = job.files || [];
    job.prompt = job.prompt ?? (parent ? parent.prompt : "");
    job.family = parent ? parent.family : [];
    job.family.push(job);
    if (parent) parent.children.push(job);
    [job.group, job.word] = STATES[job.state] || ["planned", job.state];
    const [text, ...flags] = job.prompt.split(FLAG);
    job.text = text.trim();
    job.flags = flags.map((flag) => flag.trim());
    job.names = (job.path || []).map((name) => name.replace(/^call:(.*)$/, "$1()"));
    job.name = job.names.at(-1) ?? "Grid";
  });
}

const searchable = (job) => (job.found ??= [
  job.prompt, job.step, job.word, job.state, job.action, job.speed, job.task, job.seed, `#${job.n}`,
  job.error_class, job.error, ...Object.values(job.variables || {}), ...job.files.map((file) => file.path),
].join("\n").toLowerCase());

const label = (job) => `${job.name}, number ${job.n}, ${job.word.toLowerCase()}: ${cut(job.text, 120)}`;

// --- cards --------------------------------------------------------------------------------------

let matches = []; // jobs
let current = null; // the job that keys are about
let viewed = null; // the job that is open, or was last

function thumbnail(file) {
  const image = h("img", { src: file.thumbnail, width: file.width, height: file.height, alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(icon("saved")));
  return image;
}

const blank = (job) => {
  const moving = job.files.some((file) => file.moving);
  const words = { saved: moving ? "Video" : job.files.length ? "No preview" : "No picture" }[job.group] || job.word;
  const why = job.error || (job.group === "uncertain" ? UNSURE : job.files.find((file) => file.why)?.why || "");
  return h("span", { class: "blank" }, icon(moving ? "play" : job.group), h("b", null, words),
    why ? h("span", { class: "why", dir: "auto" }, cut(why, 240)) : null);
};

function frame(job) {
  const files = job.files.filter((file) => file.thumbnail).slice(0, 4);
  const open = h("button", { class: "open", type: "button", tabindex: -1, "aria-label": `Open ${label(job)}`, click: () => view(job) });
  open.append(...(files.length ? files.map(thumbnail) : [blank(job)]));
  open.classList.toggle("many", files.length > 1);
  open.classList.toggle("fits", files.length === 1 && Math.abs(files[0].width / files[0].height / ratio - 1) < .06);
  return tinted(open, files[0]);
}

function tile(job, element, attributes) {
  const file = job.files.find((one) => one.thumbnail);
  const own = h(element, { ...attributes, class: `tile ${job.group} ${attributes.class || ""}` });
  own.append(file ? thumbnail(file) : icon(job.files.some((one) => one.moving) ? "play" : job.group));
  return tinted(own, file);
}

function family(job) {
  const all = job.family;
  const from = Math.max(0, Math.min(all.indexOf(job) - TILES + 2, all.length - TILES));
  const some = all.slice(from, from + TILES);
  const row = h("div", { class: "family" });
  for (const one of all.length > 1 ? some : []) {
    if (one.up && one !== some[0] && one.up === all[all.indexOf(one) - 1]) {
      const sep = icon("next");
      sep.setAttribute("class", "sep");
      row.append(sep);
    }
    const name = `Open ${label(one)}`;
    row.append(tile(one, "button", { type: "button", tabindex: -1, title: one.step || "Grid", "aria-label": name, class: one === job ? "own" : "", click: () => view(one) }));
  }
  if (all.length > some.length) row.append(h("span", { class: "more" }, `of ${all.length}`));
  return row;
}

const chips = (job) => h("div", { class: "chips" }, ...job.flags.map((flag) => h("span", { class: "chip", dir: "auto", title: cut(flag, 200) }, cut(flag, 60))));

function steps(job) {
  const before = job.names.slice(0, -1).map((name) => `${name} › `).join("");
  return h("span", { class: "step", title: before + job.name }, before ? h("i", null, before) : null, job.name);
}

const near = new IntersectionObserver(
  (seen) => seen.forEach(({ isIntersecting, target }) => isIntersecting && fill(target.job)),
  { rootMargin: AHEAD },
);

function card(job) { // a place for it, which is empty until it comes near
  if (job.card) return job.card;
  job.card = h("li", { class: `card ${job.group}` });
  job.card.job = job;
  near.observe(job.card);
  return job.card;
}

function fill(job) {
  if (card(job).firstChild) return;
  near.unobserve(job.card);
  const copy = h("button", { class: "copy icon", type: "button", tabindex: -1, title: "Copy the prompt (c)", "aria-label": `Copy the prompt of number ${job.n}`, click: () => copyPrompt(job) }, icon("copy"));
  job.card.append(frame(job), copy,
    h("div", { class: "line" }, steps(job), h("span", { class: "number" }, `#${job.n}`)),
    h("p", { class: "prompt", dir: "auto" }, cut(job.text, 300)),
    chips(job), family(job));
}

let later;

function attach() {
  clearTimeout(later);
  $("cards").append(...matches.slice($("cards").childElementCount).map(card));
}

function face(job) {
  fill(job);
  return job.card.firstElementChild;
}

function mark(job) {
  if (current && current.card) face(current).tabIndex = -1;
  current = job;
  face(job).tabIndex = 0;
}

const columns = () => getComputedStyle($("cards")).gridTemplateColumns.split(" ").length;

let ratio = 1;

function settleFrame() { // the shape most pictures have, as nearly as a calm grid allows
  const ratios = jobs.flatMap((job) => job.files).filter((file) => file.width).map((file) => file.width / file.height).sort((a, b) => a - b);
  ratio = Math.min(16 / 9, Math.max(3 / 4, ratios[ratios.length >> 1] || 1));
  root.style.setProperty("--frame", ratio);
  $("cards").classList.toggle("bare", !jobs.some((job) => job.up));
}

// --- filter -------------------------------------------------------------------------------------

const asked = { q: "", state: "", job: "" }; // as in the address, so that a page that reloads is the same

function note() {
  const said = new URLSearchParams(Object.entries(asked).filter(([, value]) => value));
  try { history.replaceState(null, "", `#${said}`); } catch { location.hash = said; }
}

function recall() {
  const said = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(asked)) asked[name] = said.get(name) || "";
  if (!Object.hasOwn(GROUPS, asked.state)) asked.state = "";
  $("filter").value = asked.q;
}

function show() {
  clearTimeout(later);
  const words = asked.q.toLowerCase().split(/\s+/).filter(Boolean);
  const found = jobs.filter((job) => words.every((word) => searchable(job).includes(word)));
  matches = asked.state ? found.filter((job) => job.group === asked.state) : found;
  matches.slice(0, AT_ONCE).forEach(fill);
  $("cards").replaceChildren(...matches.slice(0, 5 * AT_ONCE).map(card));
  later = setTimeout(attach, 100); // the rest once these are painted
  if (matches.length) root.style.setProperty("--tall", `${matches[0].card.offsetHeight}px`);
  if (!matches.includes(current)) { if (matches.length) mark(matches[0]); else current = null; }
  tellStates(found);
  tellNothing();
}

function tellStates(found) {
  const groups = Object.keys(GROUPS).filter((group) => jobs.some((job) => job.group === group));
  const choice = (group, words, number) => h("button", {
    type: "button", "aria-pressed": String(asked.state === group), "data-group": group,
    click: () => { asked.state = asked.state === group ? "" : group; note(); show(); $("states").querySelector("[aria-pressed=true]").focus(); },
  }, words, h("span", null, count(number)));
  $("states").replaceChildren(choice("", "All", found.length),
    ...groups.map((group) => choice(group, GROUPS[group], found.filter((job) => job.group === group).length)));
}

function tellNothing() {
  $("nothing").hidden = matches.length > 0;
  $("nothing").replaceChildren(jobs.length ? "Nothing here matches. " : "Nothing here yet.");
  if (jobs.length && !matches.length) $("nothing").append(h("button", { class: "plain", type: "button", click: clear }, "Show everything"));
}

function clear() {
  asked.q = asked.state = $("filter").value = "";
  note();
  show();
}

function tellSummary() {
  const pictures = jobs.reduce((sum, job) => sum + job.files.length, 0);
  const done = jobs.filter((job) => ["saved", "failed", "uncertain"].includes(job.group)).length;
  $("name").textContent = document.title = facts.name || "Gallery";
  $("summary").textContent = `${counted(pictures, "picture")} of ${counted(new Set(jobs.map((job) => job.n)).size, "prompt")}${facts.running ? `, ${count(jobs.length - done)} to come` : ""}`;
  $("progress").hidden = !facts.running;
  $("progress").style.setProperty("--done", jobs.length ? done / jobs.length : 0);
}

// --- one picture --------------------------------------------------------------------------------

function view(job) {
  if (!matches.includes(job)) clear();
  mark(job);
  viewed = job;
  asked.job = job.key;
  note();
  $("viewing").replaceChildren(stage(job), side(job));
  if (!$("viewer").open) $("viewer").showModal();
  $("viewer").querySelector(".side").scrollTop = 0;
  $("viewed").focus();
}

function large(job, file) {
  if (file.moving) return h("video", { src: url(file.path), controls: true, preload: "metadata" });
  if (file.large) {
    return h("a", { class: "blank", href: url(file.path), target: "_blank", rel: "noopener", title: "Open the file (o)" },
      icon("saved"), h("b", null, file.path), h("span", { class: "why", dir: "auto" }, file.why));
  }
  const image = h("img", { src: url(file.path), width: file.width, height: file.height, alt: cut(job.text, 300) || job.name });
  image.addEventListener("error", () => image.parentNode.replaceWith(h("p", { class: "blank" }, icon("failed"), h("b", null, "The file cannot be shown."), h("span", { class: "why" }, file.path))));
  if (file.thumbnail) image.style.backgroundImage = `url("${file.thumbnail}")`; // until it has come
  return h("a", { href: url(file.path), target: "_blank", rel: "noopener", title: "Open the file (o)" }, image);
}

function stage(job) {
  const at = matches.indexOf(job);
  const turn = (name, words, by) => h("button", { class: `icon turn ${name}`, type: "button", "aria-label": words, disabled: !matches[at + by], click: () => view(matches[at + by]) }, icon(name));
  const all = job.files.map((file) => large(job, file));
  const it = h("div", { class: "stage" }, ...(all.length ? all : [blank(job)]), turn("back", "The one before", -1), turn("next", "The one after", 1));
  it.classList.toggle("many", all.length > 1);
  it.classList.add(job.group);
  return tinted(it, job.files[0]);
}

const leadTo = (job) => h("button", { type: "button", "aria-label": `Open ${label(job)}`, click: () => view(job) }, tile(job, "i", {}), job.name);
const ancestors = (job) => (job.up ? [...ancestors(job.up), job.up] : []);

function path(job) {
  const up = ancestors(job).map((one) => h("li", null, leadTo(one), icon("next")));
  return h("nav", { "aria-label": "Lineage", class: "path" }, h("ol", { class: "path" }, ...up, h("li", null, h("span", { "aria-current": "page" }, tile(job, "i", {}), job.name))));
}

function relatives(id, words, those) {
  if (!those.length) return null;
  return h("section", { "aria-labelledby": id }, h("h3", { id }, words), h("ul", { class: "children" }, ...those.map((one) => h("li", null, leadTo(one)))));
}

function wrong(job) {
  if (!job.error && job.group !== "uncertain") return null;
  const head = job.group === "uncertain" ? "Uncertain" : job.error_class || "Failed";
  return h("div", { class: `wrong ${job.group}` }, h("b", null, head), h("p", { dir: "auto" }, job.error || UNSURE));
}

function details(job) {
  const list = h("dl");
  const row = (name, ...values) => values.length && values[0] != null && list.append(h("dt", { dir: "auto" }, name), h("dd", { dir: "auto" }, ...values));
  for (const [name, value] of Object.entries(job.variables || {})) row(name, value);
  row("Seed", job.seed);
  row("Made by", job.action && [job.action, job.speed].filter(Boolean).join(", "));
  row("Task", job.task);
  if (job.attempts > 1) row("Sent", `${job.attempts} times`);
  for (const file of job.files) {
    const size = [file.width && `${file.width} × ${file.height}`, bytes(file.size)].filter(Boolean).join(", ");
    row("File", h("a", { href: url(file.path), target: "_blank", rel: "noopener" }, file.path), h("br"), size);
  }
  return list;
}

function side(job) {
  const file = job.files[0];
  return h("div", { class: "side" },
    h("div", { class: "top" }, path(job), h("button", { class: "icon", type: "button", "aria-label": "Close", title: "Close (Esc)", click: () => $("viewer").close() }, icon("close"))),
    h("div", null, h("h2", { id: "viewed", tabindex: -1 }, `${job.name} #${job.n}`), h("p", { class: `state ${job.group}` }, job.word)),
    wrong(job),
    h("p", { class: "prompt", dir: "auto", tabindex: 0 }, job.text || job.prompt),
    job.flags.length ? chips(job) : null,
    h("div", { class: "actions" },
      h("button", { class: "plain", type: "button", id: "copy", click: () => copyPrompt(job) }, icon("copy"), "Copy prompt"),
      file ? h("a", { class: "plain", href: url(file.path), target: "_blank", rel: "noopener" }, icon("open"), "Open file") : null),
    relatives("children", "Made of it", job.children),
    relatives("siblings", "Beside it", job.up ? job.up.children.filter((one) => one !== job) : []),
    details(job));
}

function closed() {
  asked.job = "";
  note();
  $("viewing").replaceChildren();
  focusOn(viewed); // the browser has gone back to where it was opened
}

// --- copying, words -----------------------------------------------------------------------------

let hush;

function say(words) {
  const place = $("viewer").open ? $("viewer") : document.body; // what is outside of a dialog is not heard
  place.append($("said"));
  $("said").textContent = words;
  clearTimeout(hush);
  hush = setTimeout(() => { $("said").textContent = ""; }, 1600);
}

function copyByHand(text) { // where the page is no secure context
  const place = $("viewer").open ? $("viewer") : document.body;
  const field = h("textarea", { class: "unseen", readonly: true });
  const before = document.activeElement;
  field.value = text;
  place.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (before) before.focus({ preventScroll: true });
  return done;
}

async function copyPrompt(job) {
  let done = true;
  try { await navigator.clipboard.writeText(job.prompt); } catch { done = copyByHand(job.prompt); }
  say(done ? "Prompt copied" : "The browser does not let this page copy");
}

// --- theme --------------------------------------------------------------------------------------

function tellTheme() {
  const name = root.dataset.theme;
  const words = `Colours: ${THEMES[name]}`;
  $("theme").replaceChildren(icon(name));
  $("theme").setAttribute("aria-label", words);
  $("theme").title = `${words} (t)`;
}

function nextTheme() {
  const names = Object.keys(THEMES);
  root.dataset.theme = names[(names.indexOf(root.dataset.theme) + 1) % names.length];
  store.set(local, "mjasync:theme", root.dataset.theme);
  tellTheme();
}

// --- keys ---------------------------------------------------------------------------------------

function focusOn(job) {
  attach();
  mark(job);
  face(job).focus({ preventScroll: true });
  job.card.scrollIntoView({ block: "nearest" });
}

function move(by) {
  if (!matches.length) return;
  const inside = $("cards").contains(document.activeElement);
  const to = matches.indexOf(current) + (inside ? by() : 0);
  focusOn(matches[Math.min(matches.length - 1, Math.max(0, to))]);
}

const turnTo = (job) => job && view(job);
const openFile = () => current && current.files[0] && open(url(current.files[0].path), "_blank", "noopener");
const everywhere = {
  c: () => current && copyPrompt(current),
  o: openFile,
  t: nextTheme,
  "?": () => $("keys").showModal(),
};
const inList = {
  ...everywhere,
  ArrowRight: () => move(() => 1),
  ArrowLeft: () => move(() => -1),
  ArrowDown: () => move(columns),
  ArrowUp: () => move(() => -columns()),
  Home: () => matches.length && focusOn(matches[0]),
  End: () => matches.length && focusOn(matches.at(-1)),
  Enter: () => current && view(current),
  "/": () => { $("filter").focus(); $("filter").select(); },
  Escape: clear,
};
const inViewer = {
  ...everywhere,
  ArrowRight: () => turnTo(matches[matches.indexOf(current) + 1]),
  ArrowLeft: () => turnTo(matches[matches.indexOf(current) - 1]),
  ArrowUp: () => turnTo(current.up),
  ArrowDown: () => turnTo(current.children[0]),
};
const inFilter = {
  ArrowDown: () => move(() => 0),
  Enter: () => move(() => 0),
  Escape: () => ($("filter").value ? clear() : $("filter").blur()),
};

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const target = event.target;
  if (target.matches("video")) return;
  if (event.key === "Enter" && target.closest("button, a")) return; // it does what it says
  const keys = target === $("filter") ? inFilter : $("viewer").open ? inViewer : inList;
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
}

// --- following a batch under way ----------------------------------------------------------------

function follow() {
  const typing = document.activeElement === $("filter");
  if (document.hidden || typing || document.querySelector("dialog[open]")) setTimeout(follow, 1000);
  else location.reload();
}

function keep() {
  const place = { y: scrollY, key: current && current.key, inside: $("cards").contains(document.activeElement) };
  store.set(session, HERE, JSON.stringify(place));
}

function resume() {
  const place = JSON.parse(store.get(session, HERE) || "{}");
  const job = byKey.get(place.key);
  if (matches.includes(job)) mark(job);
  if (place.inside && current) face(current).focus({ preventScroll: true });
  if (place.y) {
    attach();
    scrollTo(0, place.y);
  }
}

function begin() {
  read();
  settleFrame();
  tellSummary();
  tellTheme();
  recall();
  show();
  resume();
  const opened = byKey.get(asked.job);
  if (opened) view(opened);
  $("cards").addEventListener("focusin", (event) => mark(event.target.closest(".card").job));
  addEventListener("pagehide", keep);
  addEventListener("hashchange", () => { recall(); show(); turnTo(byKey.get(asked.job)); });
  document.addEventListener("keydown", pressed);
  $("filter").addEventListener("input", () => { asked.q = $("filter").value; note(); show(); scrollTo(0, 0); });
  $("viewer").addEventListener("close", closed);
  $("theme").addEventListener("click", nextTheme);
  $("help").addEventListener("click", () => $("keys").showModal());
  if (facts.running) {
    const age = Date.now() / 1000 - facts.written; // a batch that was killed is looked at less and less
    setTimeout(follow, 1000 * Math.min(AGAIN[1], Math.max(AGAIN[0], age / 4)));
  }
}

history.scrollRestoration = "manual";
document.addEventListener("DOMContentLoaded", begin);
