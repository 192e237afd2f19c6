// The host's console for one stream: open and close the sale, add stock, set the goal, hand out the overlay's
// address, and see what the audience sees. It works by keyboard and on a phone.

import { Refusal, Unknown, call, untilKnown } from "./api.js";
import { t } from "./console_words.js";
import { confirmed, toast } from "./dialog.js";
import { el, find, say } from "./dom.js";
import { count, named } from "./i18n.js";
import { keyForm } from "./keyform.js";
import { Live } from "./live.js";
import { minorOf, money } from "./money.js";
import { MoneyDesk } from "./moneydesk.js";
import { OverlayKey } from "./overlaykey.js";
import { emptyState, frame, keyOfAddress, show } from "./page.js";
import { Stage, Viewers } from "./stage.js";
import { storefront, streamTopics } from "./storefront.js";

const KEY = "se.console";
const SCREEN_MS = 3_000;
const MONEY_MS = 15_000;
const NEXT = { draft: "scheduled", scheduled: "live", live: "ended" };

const view = { key: null, stream: null, streams: [], live: null, timers: [], stage: null, desk: null, offers: new Map() };
const parts = {};

function api(method, path, body, headers = {}) {
  return call(method, path, { token: view.key, body, headers });
}

function streamPath(rest = "") {
  return `/streams/${encodeURIComponent(view.stream.id)}${rest}`;
}

// Run what a button stands for; say what became of it, if there is anything to say. The button rests meanwhile, so
// nothing is sent twice.
async function act(button, work, doneText = () => t("done")) {
  button.disabled = true;
  try {
    const done = doneText(await work());
    if (done) toast(done);
  } catch (error) {
    if (error instanceof Unknown) toast(t("trouble"), true);
    else if (error instanceof Refusal) toast(t("refused", { detail: error.message }), true);
    else throw error;
  } finally {
    button.disabled = false;
  }
}

// --- the sale's life ------------------------------------------------------------------------------------------

function lifeCard() {
  parts.state = el("span", { class: "badge", id: "state" });
  parts.next = el("button", { type: "button", id: "next", onclick: advance });
  const shop = el("a", { href: `/shop/${encodeURIComponent(view.stream.id)}`, target: "_blank", rel: "noopener" }, t("shop"));
  const doing = el("div", { class: "doing" }, shop, parts.next);
  return el("section", { class: "card spread" }, parts.state, el("h1", {}, named(view.stream, "title")), doing);
}

function seeLife(state) {
  view.stream.state = state;
  say(parts.state, t(state));
  parts.state.classList.toggle("live", state === "live");
  const next = NEXT[state];
  parts.next.hidden = !next;
  if (!next) return;
  say(parts.next, t(`to${next[0].toUpperCase()}${next.slice(1)}`));
  parts.next.classList.toggle("danger", next === "ended");
}

async function advance() {
  const next = NEXT[view.stream.state];
  if (next === "ended") {
    const words = { title: t("endTitle"), text: t("endText"), yes: t("endYes"), no: t("cancel") };
    if (!(await confirmed(words))) return;
  }
  await act(parts.next, async () => {
    const stream = await api("POST", streamPath("/state"), { state: next });
    seeLife(stream.state ?? next);
  });
}

// --- offers ---------------------------------------------------------------------------------------------------

function offerRow(offer, currency) {
  const left = el("b", { class: "num" });
  const taken = el("span", { class: "soft small num" });
  const fill = el("i");
  const input = el("input", { type: "number", min: 1, max: 1_000_000, step: 1, required: true, inputmode: "numeric" });
  const button = el("button", { type: "submit" }, t("add"));
  const send = (event) => {
    event.preventDefault();
    const add = Number(input.value);
    if (!Number.isInteger(add) || add < 1) return input.focus();
    return act(
      button,
      () => api("POST", streamPath(`/offers/${encodeURIComponent(offer.sku)}/stock`), { add }),
      (answer) => {
        input.value = "";
        return answer.total === undefined ? t("done") : t("added", { total: count(answer.total) });
      },
    );
  };
  view.offers.set(offer.sku, { left, taken, fill });
  return el(
    "div",
    { class: "offer", "data-sku": offer.sku },
    el(
      "div",
      {},
      el("h3", {}, `${named(offer)} · ${money(offer.price_minor, currency)}`),
      el("p", {}, left, " ", taken),
      el("div", { class: "bar" }, fill),
    ),
    el("form", { class: "inline", onsubmit: send }, el("label", {}, t("addStock"), input), button),
  );
}

function seeStock(items) {
  for (const item of items) {
    const row = view.offers.get(item.sku);
    if (!row) continue;
    say(row.left, t("left", { left: count(item.left), total: count(item.total) }));
    say(row.taken, t("taken", { reserved: count(item.reserved), sold: count(item.sold) }));
    row.fill.style.setProperty("--part", `${item.total ? (item.left * 100) / item.total : 0}%`);
  }
}

function offersCard(front) {
  const rows = front.offers.map((offer) => offerRow(offer, front.currency));
  const empty = el("p", { class: "soft" }, t("noOffers"));
  return el("section", { class: "card" }, el("h2", {}, t("offers")), ...(rows.length ? rows : [empty]));
}

// --- goal -----------------------------------------------------------------------------------------------------

function goalCard(currency) {
  const placeholder = money(view.stream.goal_minor, currency);
  const input = el("input", { inputmode: "decimal", required: true, autocomplete: "off", id: "goal", placeholder });
  const button = el("button", { type: "submit" }, t("saveGoal"));
  const send = (event) => {
    event.preventDefault();
    const goal = minorOf(input.value, currency);
    if (goal === null) {
      input.focus();
      return toast(t("goalBad"), true);
    }
    return act(button, () => api("PATCH", streamPath(), { goal_minor: goal }), () => t("goalSet"));
  };
  const label = el("label", {}, t("goalLabel", { currency }), input);
  return el("section", { class: "card" }, el("h2", {}, t("goal")), el("form", { class: "inline", onsubmit: send }, label, button));
}

// --- one stream -----------------------------------------------------------------------------------------------

function take(frame) {
  const part = frame.topic.split("/")[2];
  if (part === "tally") {
    view.stage.take(frame);
    view.desk.take(frame.state);
  }
  if (part === "stock") seeStock(frame.state.items);
  if (part === "status") seeLife(frame.state.state);
  view.stage.tick(view.live);
}

async function lookAtScreen(viewers) {
  try {
    const screen = await api("GET", streamPath("/screen"));
    viewers.take(screen.viewers ?? {});
    view.stage.lookedAgeMs = screen.looked_age_ms;
  } catch (error) {
    if (!(error instanceof Refusal) && !(error instanceof Unknown)) throw error;
    // The next look, a moment later, tells.
  }
}

async function openStream(stream) {
  view.live?.stop();
  view.timers.forEach(clearInterval);
  view.stream = stream;
  view.offers.clear();
  view.stage = new Stage();
  const viewers = new Viewers();
  const front = await untilKnown(() => storefront(stream.id));
  const overlay = new OverlayKey(stream, api, act);
  const right = el("div", {}, goalCard(front.currency), overlay.node, viewers.node);
  const left = el("div", {}, view.stage.node, offersCard(front));
  view.desk = new MoneyDesk({ stream, front, api, act });
  show(chooser(), lifeCard(), el("div", { class: "pair" }, left, right), view.desk.node);
  seeLife(stream.state);
  seeStock(front.offers);
  view.live = new Live({ topics: streamTopics(stream.id), token: () => view.key, onFrame: take }).start();
  view.stage.tick(view.live);
  lookAtScreen(viewers);
  view.desk.look();
  view.timers = [
    setInterval(() => view.desk.look(), MONEY_MS),
    setInterval(() => view.stage.tick(view.live), 1000),
    setInterval(() => lookAtScreen(viewers), SCREEN_MS),
  ];
}

function chooser() {
  if (view.streams.length < 2) return "";
  const select = el(
    "select",
    { onchange: () => openStream(view.streams.find((stream) => stream.id === select.value)) },
    ...view.streams.map((stream) =>
      el(
        "option",
        { value: stream.id, selected: stream.id === view.stream.id },
        `${named(stream, "title")} — ${t(stream.state)}`,
      ),
    ),
  );
  return el("label", {}, t("choose"), select);
}

async function ownStreams() {
  const streams = [];
  let cursor = "";
  for (let page = 0; page < 20; page += 1) {
    const answer = await untilKnown(() => api("GET", `/streams?limit=100${cursor}`));
    streams.push(...answer.items);
    if (!answer.next) break;
    cursor = `&cursor=${encodeURIComponent(answer.next)}`;
  }
  return streams;
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
  const all = await ownStreams();
  view.streams = me.role === "host" ? all.filter((stream) => (stream.host_id ?? stream.host?.id) === me.host_id) : all;
  const first = view.streams.find((stream) => stream.state === "live") ?? view.streams[0];
  parts.leave.hidden = false;
  return first ? openStream(first) : show(emptyState(t("none"), t("noneText")));
}

function ask(refused) {
  sessionStorage.removeItem(KEY);
  show(
    keyForm((key) => {
      sessionStorage.setItem(KEY, key);
      enter(key);
    }, refused),
  );
}

function leave() {
  sessionStorage.removeItem(KEY);
  location.reload();
}

document.title = t("title");
parts.leave = el("button", { type: "button", class: "quiet", hidden: true, onclick: leave }, t("leave"));
frame(parts.leave);
addEventListener("hashchange", () => {
  if (location.hash.length > 1) enter(keyOfAddress(KEY));
});
const given = keyOfAddress(KEY);
if (given) enter(given);
else ask(false);
find("main").tabIndex = -1;
