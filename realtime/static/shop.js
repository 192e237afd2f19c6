// The shop of one stream: see, choose, buy; then the order takes over the page. Everything survives a reload: a
// pending attempt is finished, a placed order is shown again.

import { Refusal, serverNow, untilKnown } from "./api.js";
import { Attempt, dropOrder, keepOrder, keptOrder } from "./attempt.js";
import { Donate } from "./donate.js";
import { el, find, say } from "./dom.js";
import { Extras } from "./extras.js";
import { t as g } from "./giving_words.js";
import { clock, count, named } from "./i18n.js";
import { Live } from "./live.js";
import { money } from "./money.js";
import { Stall } from "./offers.js";
import { contactCard, follow, isGift, outcome, payClock, queueCard, steps, summary, wantsContact } from "./order.js";
import { OrderAccess } from "./orderaccess.js";
import { w } from "./order_words.js";
import { emptyState, frame, show } from "./page.js";
import { Sponsors, termsCard } from "./promises.js";
import { t } from "./shop_words.js";
import { shopperToken } from "./shopper.js";
import { storefront, streamTopics } from "./storefront.js";
import { reckon } from "./sums.js";

// Pots run down while people look; the figures of stock come by themselves.
const PROMISES_MS = 15_000;

const streamId = decodeURIComponent(location.pathname.split("/")[2]);
const attempt = new Attempt(streamId, "orders");
const view = {
  ...{ front: null, stall: null, extras: null, donate: null, sponsors: new Sponsors() },
  ...{ live: null, status: null, busy: false, following: 0, watching: false },
};
const parts = {};

function home() {
  return el("p", {}, el("a", { href: "/", class: "button" }, t("home")));
}

// --- the hero -------------------------------------------------------------------------------------------------

function hero() {
  parts.life = el("span", { class: "badge" });
  parts.raised = el("b", { class: "num" });
  parts.goal = el("span", { class: "num" });
  parts.fill = el("i");
  parts.bar = el("div", { class: "bar" }, parts.fill);
  parts.tally = el("div", { hidden: true }, el("p", { class: "raised" }, parts.raised, parts.goal), parts.bar);
  const host = view.front.host?.name;
  return el(
    "header",
    { class: "hero" },
    parts.life,
    el("h1", {}, named(view.front, "title")),
    host ? el("p", {}, t("with", { host })) : null,
    parts.tally,
  );
}

function seeTally({ raised_minor: raised, goal_minor: goal, currency }) {
  parts.tally.hidden = false;
  say(parts.raised, t("raised", { amount: money(raised, currency) }));
  say(parts.goal, goal > 0 ? t("ofGoal", { goal: money(goal, currency, { round: true }) }) : "");
  parts.bar.hidden = goal <= 0;
  parts.fill.style.setProperty("--part", `${goal > 0 ? Math.min(100, (raised * 100) / goal) : 0}%`);
}

function life() {
  const state = view.status?.state ?? view.front.state;
  if (state === "live") return "live";
  return state === "ended" || state === "settled" ? "over" : "soon";
}

function seeLife() {
  const now = life();
  say(parts.life, t(now));
  parts.life.classList.toggle("live", now === "live");
  paintBuy();
}

// --- buying ---------------------------------------------------------------------------------------------------

function message(text, kind = "") {
  parts.message.hidden = !text;
  parts.message.className = `note ${kind}`;
  say(parts.message, text ?? "");
}

function opensAt() {
  const at = Date.parse(view.opensAt ?? view.status?.opens_at ?? view.front.opens_at ?? "");
  return at > serverNow() ? at : null;
}

// What the basket comes to, before anybody buys it: nothing is added later.
function paintSums(sums) {
  const { currency } = view.front;
  const words = [g("sumGoods", { amount: money(sums.goods, currency) })];
  if (sums.shipping) words.push(g("sumShipping", { amount: money(sums.shipping, currency) }));
  else words.push(g("sumFree"));
  if (sums.gifts) words.push(g("sumGifts", { amount: money(sums.gifts, currency) }));
  if (sums.tax) words.push(g("sumTax", { amount: money(sums.tax, currency) }));
  const text = sums.shipping === null ? g("tooHeavy") : words.join(" · ");
  parts.sums.hidden = sums.goods === 0;
  say(parts.sums, text);
}

function paintBuy() {
  if (!parts.buy || view.busy || !parts.buy.isConnected) return;
  const sums = reckon(view.front, view.stall.lines(), view.extras.body());
  view.extras.paint(sums);
  paintSums(sums);
  const total = sums.goods ? sums.total : 0;
  const opens = opensAt();
  const now = life();
  const odd = sums.shipping === null || view.extras.trouble(sums.gifts) !== null;
  parts.buy.disabled = now !== "live" || opens !== null || total === 0 || odd || view.stall.isSoldOut();
  if (now === "over") say(parts.buy, t("over"));
  else if (opens !== null) say(parts.buy, t("opensIn", { clock: clock((opens - serverNow()) / 1000) }));
  else if (now === "soon") say(parts.buy, t("soon"));
  else if (total === 0) say(parts.buy, t("pick"));
  else if (view.stall.isSoldOut()) say(parts.buy, t("soldOut"));
  else say(parts.buy, t("buy", { amount: money(total, view.front.currency) }));
}

function refusalText({ code, body, message: detail }) {
  switch (code) {
    case "sold_out":
      view.watching = body.final === false;
      return t(view.watching ? "heldByOthers" : "soldOutFinal");
    case "limit_exceeded":
      return t("limitReached", { limit: count(body.limit), yours: count(body.yours) });
    case "not_open":
      view.opensAt = body.opens_at;
      return t("opensSoon");
    case "sale_closed":
      return t("saleClosed");
    case "key_aborted":
      return t("keyAborted");
    default:
      return t("refused", { detail });
  }
}

async function place() {
  view.busy = true;
  parts.buy.disabled = true;
  say(parts.buy, t("checking"));
  message(null);
  try {
    const order = await attempt.finish(() => message(t("placing")));
    keepOrder(streamId, order.id);
    view.stall.clear();
    view.extras.clear();
    openOrder(order.id, true);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    message(refusalText(error), view.watching ? "" : "bad");
  } finally {
    view.busy = false;
    paintBuy();
  }
}

function buy() {
  if (view.busy) return;
  attempt.begin({ lines: view.stall.lines(), ...view.extras.body() });
  place();
}

function stallView() {
  view.following += 1;
  history.replaceState(null, "", location.pathname + withoutOrder());
  const kept = keptOrder(streamId);
  const link = el("button", { class: "quiet wide", type: "button", onclick: () => openOrder(kept.id) }, t("openOrder"));
  parts.message = el("p", { class: "note", role: "status", hidden: true });
  parts.sums = el("p", { class: "sums small num", id: "sums", hidden: true });
  parts.buy = el("button", { type: "button", class: "wide", id: "buy", onclick: buy }, t("loading"));
  const empty = view.front.offers.length === 0;
  show(
    hero(),
    view.sponsors.node,
    kept ? el("div", { class: "actions" }, link) : "",
    ...(empty ? [emptyState(t("nothing"), t("nothingText"))] : [view.stall.node, view.extras.node]),
    view.donate?.node ?? "",
    termsCard(view.front),
    empty ? "" : el("div", { class: "checkout" }, parts.message, parts.sums, parts.buy),
  );
  find("main").classList.toggle("buying", !empty);
  for (const frame of view.latest.values()) take(frame);
  seeLife();
}

// --- the order ------------------------------------------------------------------------------------------------

function withoutOrder() {
  const query = new URLSearchParams(location.search);
  query.delete("order");
  return query.size ? `?${query}` : "";
}

function payHref(orderId) {
  return `/pay/${encodeURIComponent(orderId)}${location.search.includes("locale=") ? withoutOrder() : ""}`;
}

function openOrder(orderId, fresh = false) {
  const access = new OrderAccess(orderId);
  const query = new URLSearchParams(location.search);
  query.set("order", orderId);
  history.replaceState(null, "", `${location.pathname}?${query}`);
  find("main").classList.remove("buying");
  const trouble = el("p", { class: "note", role: "status", hidden: true });
  const body = el("div", { "aria-live": "polite" }, el("p", { class: "empty" }, t("loading")));
  const manage = el("a", { class: "button quiet wide", id: "manage", href: payHref(orderId), hidden: true }, w("manage"));
  const back = el("button", { class: "quiet wide", type: "button", onclick: stallView }, t("backToShop"));
  show(trouble, body, el("div", { class: "actions" }, manage, back));
  scrollTo(0, 0);
  const mine = (view.following += 1);
  let painted = "";
  const paint = (order, again = false) => {
    if (isGift(order)) return location.replace(payHref(orderId));
    // Only what changes the picture repaints it: a form somebody is typing in must not be replaced.
    const picture = [order.state, order.contact_given, order.pay_by, order.ahead, order.minutes, order.notice].join();
    if (picture === painted && !again) return;
    if (keptOrder(streamId)?.id === orderId) keepOrder(streamId, orderId, true);
    const typing = body.querySelector("form") && order.contact_given === false && !again;
    const same = painted.split(",")[0] === order.state;
    painted = picture;
    if (typing && same) return;
    manage.hidden = false;
    body.replaceChildren(...orderNodes(order, access, () => refresh(order)));
    if (fresh) body.querySelector("h1, h2")?.scrollIntoView({ block: "nearest" });
    return null;
  };
  const refresh = (order) => paint({ ...order, contact_given: true }, true);
  const onTrouble = (error) => {
    trouble.hidden = error === null;
    if (error instanceof Refusal) {
      if (keptOrder(streamId)?.id === orderId) dropOrder(streamId);
      body.replaceChildren(emptyState(t("noOrder"), t("noOrderText")));
      trouble.hidden = true;
    } else if (error) say(trouble, t("offline"));
  };
  follow(access, paint, onTrouble, () => view.following !== mine);
}

function payCard(order) {
  const amount = money(order.total.amount_minor, order.total.currency);
  const href = payHref(order.id);
  return el(
    "section",
    { class: "card" },
    el("div", { class: "spread" }, el("h2", {}, t("payTitle")), payClock(order)),
    el("p", { class: "gap" }, el("a", { class: "button wide", id: "go-pay", href }, t("pay", { amount }))),
  );
}

function orderNodes(order, access, onSaved) {
  const done = outcome(order);
  const lines = el("section", { class: "card" }, el("h2", {}, t("yourOrder")), summary(order, (sku) => view.stall.nameOf(sku)));
  const nodes = [steps(order)];
  if (done) return [...nodes, done, lines];
  if (order.state === "RESERVED") nodes.push(queueCard(order));
  if (wantsContact(order)) nodes.push(contactCard(order, access, onSaved));
  else if (order.state === "AWAITING_PAYMENT") nodes.push(payCard(order));
  return [...nodes, lines];
}

// --- start ----------------------------------------------------------------------------------------------------

function take(frame) {
  const part = frame.topic.split("/")[2];
  view.latest.set(part, frame);
  if (part === "tally") seeTally(frame.state);
  if (part === "status") view.status = frame.state;
  if (part === "stock" && view.stall.see(frame.state.items) && view.watching) {
    view.watching = false;
    message(t("cameBack"), "good");
    navigator.vibrate?.(120);
  }
  seeLife();
}

function seeFront() {
  document.title = named(view.front, "title");
  view.latest = new Map();
  view.stall = new Stall(view.front, () => paintBuy());
  view.extras = new Extras(view.front, () => paintBuy());
  if (view.front.gifts) view.donate = new Donate(view.front, openGift);
  view.sponsors.take(view.front);
  if (view.front.matches.length) setInterval(lookAtPromises, PROMISES_MS);
  view.live = new Live({ topics: streamTopics(streamId), token: shopperToken, onFrame: take }).start();
  setInterval(() => opensAt() !== null || view.opensAt ? paintBuy() : null, 500);
}

function openGift({ id }) {
  // An order of goods that waits in the queue is the one to find again here; a gift has its page and its link.
  if (!keptOrder(streamId)) keepOrder(streamId, id, true);
  location.assign(payHref(id));
}

async function lookAtPromises() {
  if (document.hidden) return;
  try {
    view.sponsors.take(await storefront(streamId));
  } catch {
    // The next look, a moment later, tells.
  }
}

async function start() {
  frame();
  show(el("p", { class: "empty" }, t("loading")));
  try {
    view.front = await untilKnown(() => storefront(streamId));
  } catch {
    return show(emptyState(t("notFound"), t("notFoundText"), home()));
  }
  seeFront();
  const asked = new URLSearchParams(location.search).get("order");
  stallView();
  const kept = keptOrder(streamId);
  if (attempt.pending()) place();
  else if (view.donate?.attempt.pending()) view.donate.finish();
  else if (asked) openOrder(asked);
  else if (kept && !kept.seen) openOrder(kept.id);
}

start();
