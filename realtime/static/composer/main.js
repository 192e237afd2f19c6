// Where a host composes an overlay: choose a widget and how it looks, see the real one live over a checkerboard, and
// copy its address into OBS. What is composed stays in this tab; nothing is saved on the server but an alert group's
// settings, and no key is on the page unless it was asked for.

import { Refusal, call, untilKnown } from "../api.js";
import { act } from "../console/act.js";
import { el, find } from "../dom.js";
import { named } from "../i18n.js";
import { keyForm } from "../keyform.js";
import { COMMON, readParameters } from "../overlay/parameters.js";
import { emptyState, frame, keyOfAddress, show } from "../page.js";
import { storefront } from "../storefront.js";
import { Address } from "./address.js";
import { field } from "./fields.js";
import { Groups } from "./groups.js";
import { Preview } from "./preview.js";
import { called, t } from "./words.js";

const KEY = "se.console";
const COMPOSED = "se.composer";
const PAGES_MAX = 20;
const WIDGETS = [
  "all", "tally", "goal", "milestones", "product", "stock", "countdown", "alerts", "ticker", "leaderboard", "match",
  "farmer", "credits", "qr", "health",
];
const LOOK = ["theme", "layout", "accent", "bg", "fg", "at", "scale", "radius", "locale", "anim", "delay_ms", "fallback"];
// A rehearsal is begun in the console, and the size of the page is chosen as the size of the source.
const NOT_ASKED = new Set([...LOOK, "test", "size", "group"]);
const SIZES = { landscape: [1920, 1080], vertical: [1080, 1920] };
const SIDE_MAX = 8192;

const view = { key: null, stream: null, streams: [], parts: null, currency: "CNY" };
const composed = { widget: "all", values: {}, sides: null };

const api = (method, path, body, headers = {}) => call(method, path, { token: view.key, body, headers });

function remember() {
  sessionStorage.setItem(COMPOSED, JSON.stringify(composed));
}

function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(COMPOSED));
    if (WIDGETS.includes(kept?.widget) && kept.values) Object.assign(composed, kept);
  } catch {
    // It was nothing of ours; begin anew.
  }
  // A link of the console leads to the very group whose settings are asked for.
  const asked = new URLSearchParams(location.search);
  if (!WIDGETS.includes(asked.get("widget"))) return;
  composed.widget = asked.get("widget");
  const group = COMMON.group.read(asked.get("group") ?? "");
  if (group) composed.values.group = group;
  for (const name of ["widget", "group"]) asked.delete(name);
  history.replaceState(null, "", `${location.pathname}${`?${asked}`.replace(/^\?$/, "")}${location.hash}`);
}

// --- the address ----------------------------------------------------------------------------------------------

function query(without = []) {
  const rules = { ...COMMON, ...view.own };
  const said = new URLSearchParams();
  for (const name of Object.keys(rules)) {
    const value = composed.values[name];
    if (value && !without.includes(name)) said.set(name, value);
  }
  const text = said.toString().replaceAll("%2C", ",");
  return text ? `?${text}` : "";
}

function sides() {
  return composed.sides ?? SIZES[composed.values.layout || "landscape"];
}

function refresh() {
  remember();
  const { address, preview, groups } = view.parts;
  const path = `/overlay/${composed.widget}`;
  const [width, height] = sides();
  address.pointAt(path + query());
  const secret = `${view.key},${view.stream.id}`;
  preview.show({ path: path + query(["delay_ms"]), secret, width, height });
  groups.node.hidden = composed.widget !== "alerts";
  const { values } = readParameters(query(), view.own);
  if (!groups.node.hidden) groups.show(values.group);
}

function put(name, text) {
  // What is not understood is not put into the address: the overlay would ignore it.
  if (text) composed.values[name] = text;
  else delete composed.values[name];
  if (name === "layout") {
    composed.sides = null;
    paintSize();
  }
  refresh();
}

// --- the form -------------------------------------------------------------------------------------------------

const asked = (name, rule) => field(name, rule, composed.values[name] ?? "", (text) => put(name, text));

function paintSize() {
  const [width, height] = sides();
  const side = (name, value, n) => {
    const input = el("input", { type: "number", name, min: 100, max: SIDE_MAX, step: 1, value, required: true, inputmode: "numeric" });
    input.addEventListener("input", () => {
      if (!input.checkValidity() || !input.value) return;
      composed.sides = [...sides()];
      composed.sides[n] = Number(input.value);
      refresh();
    });
    return el("label", {}, t(name), input);
  };
  view.parts.size.replaceChildren(side("width", width, 0), side("height", height, 1));
}

function paintForm() {
  const { own } = view;
  const ownRows = Object.entries(own).map(([name, rule]) => asked(name, rule));
  if (composed.widget === "alerts") ownRows.push(asked("group", COMMON.group));
  view.parts.own.replaceChildren(el("h2", {}, t("own")), el("div", { class: "grid" }, ...ownRows));
  view.parts.own.hidden = !ownRows.length;
  const look = LOOK.map((name) => asked(name, COMMON[name]));
  view.parts.look.replaceChildren(el("h2", {}, t("look")), el("div", { class: "grid" }, ...look));
  const rest = Object.keys(COMMON).filter((name) => !NOT_ASKED.has(name));
  const more = el("div", { class: "grid" }, ...rest.map((name) => asked(name, COMMON[name])));
  const wasOpen = view.parts.more.querySelector("details")?.open ?? false;
  view.parts.more.replaceChildren(el("details", { class: "fold", open: wasOpen }, el("summary", {}, t("more")), more));
}

async function pick(widget) {
  composed.widget = widget;
  const { default: made } = await import(`../overlay/widgets/${widget}.js`);
  // Whoever picks quickly has picked another one meanwhile.
  if (composed.widget !== widget) return;
  view.own = made.options ?? {};
  paintForm();
  refresh();
}

function chooser() {
  if (view.streams.length < 2) return "";
  const select = el("select", { id: "stream", onchange: () => openStream(view.streams.find(({ id }) => id === select.value)) });
  for (const stream of view.streams) {
    select.append(el("option", { value: stream.id, selected: stream.id === view.stream.id }, named(stream, "title")));
  }
  return el("label", {}, t("choose"), select);
}

function widgetPicker() {
  const radio = (name) =>
    el(
      "label",
      { class: "pick" },
      el("input", { type: "radio", name: "widget", value: name, checked: name === composed.widget, onchange: () => pick(name) }),
      el("span", {}, called(name)),
    );
  return el("fieldset", { class: "card picks" }, el("legend", {}, t("widget")), ...WIDGETS.map(radio));
}

async function openStream(stream) {
  view.stream = stream;
  const front = await untilKnown(() => storefront(stream.id), { tries: 3 }).catch(() => null);
  view.currency = front?.currency ?? "CNY";
  view.parts = {
    address: new Address(stream, api, act),
    preview: new Preview(),
    groups: new Groups(stream, api, view.currency),
    own: el("section", { class: "card" }),
    look: el("section", { class: "card" }),
    more: el("section", { class: "card" }),
    size: el("div", { class: "grid" }),
  };
  const { address, preview, groups, own, look, more, size } = view.parts;
  const sizeCard = el("section", { class: "card" }, el("h2", {}, t("size")), size);
  const right = el("div", { class: "seen" }, preview.node, address.node);
  const left = el("div", { class: "chosen" }, widgetPicker(), own, groups.node, look, sizeCard, more);
  show(el("h1", { class: "headline" }, t("title")), chooser(), el("div", { class: "bench" }, right, left));
  paintSize();
  await pick(composed.widget);
}

// --- who is here ----------------------------------------------------------------------------------------------

async function ownStreams(me) {
  const streams = [];
  let cursor = "";
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const answer = await untilKnown(() => api("GET", `/streams?limit=100${cursor}`));
    streams.push(...answer.items);
    if (!answer.next) break;
    cursor = `&cursor=${encodeURIComponent(answer.next)}`;
  }
  return me.role === "host" ? streams.filter((stream) => (stream.host_id ?? stream.host?.id) === me.host_id) : streams;
}

async function enter(key) {
  view.key = key;
  show(el("p", { class: "empty" }, t("loading")));
  let me = null;
  try {
    me = await untilKnown(() => api("GET", "/me"));
  } catch (error) {
    if (error instanceof Refusal) return ask(true);
    throw error;
  }
  if (me.role !== "host" && me.role !== "operator") return ask(true);
  view.streams = await ownStreams(me);
  leave.hidden = false;
  const first = view.streams.find((stream) => stream.state === "live") ?? view.streams[0];
  return first ? openStream(first) : show(emptyState(t("none"), t("noneText")));
}

function ask(refused) {
  sessionStorage.removeItem(KEY);
  const take = (key) => {
    sessionStorage.setItem(KEY, key);
    enter(key);
  };
  show(keyForm(take, refused));
}

const signOut = () => {
  sessionStorage.removeItem(KEY);
  location.reload();
};
const leave = el("button", { type: "button", class: "quiet", hidden: true, onclick: signOut }, t("leave"));

document.title = t("title");
frame(el("a", { href: "/console" }, t("console")), leave);
recall();
addEventListener("hashchange", () => {
  if (location.hash.length > 1) enter(keyOfAddress(KEY));
});
const given = keyOfAddress(KEY);
if (given) enter(given);
else ask(false);
find("main").tabIndex = -1;
