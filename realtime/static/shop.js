// The shop of one stream: see, choose, buy; then the order takes over the page. Everything survives a reload: a
// pending attempt is finished, a placed order is shown again.

import { announce } from "./announce.js";
import { Refusal, serverNow, untilKnown } from "./api.js";
import { Attempt, keepOrder, keptOrder } from "./attempt.js";
import { Donate } from "./donate.js";
import { el, find, say } from "./dom.js";
import { Extras } from "./extras.js";
import { t as g } from "./giving_words.js";
import { Hero } from "./hero.js";
import { clock, count, named } from "./i18n.js";
import { money } from "./money.js";
import { Stall } from "./offers.js";
import { emptyState, frame, show } from "./page.js";
import { Placed } from "./placed.js";
import { Sponsors, termsCard } from "./promises.js";
import { t } from "./shop_words.js";
import { ShopFeed } from "./shopfeed.js";
import { storefront } from "./storefront.js";
import { reckon } from "./sums.js";

// So long after the first picture things may still find their place, if nobody has touched the page.
const ARRANGING_MS = 1500;
// A tap meant for the old price must not buy at the new one.
const NEW_PRICE_MS = 1500;

const streamId = decodeURIComponent(location.pathname.split("/")[2]);
const attempt = new Attempt(streamId, "orders");
const view = {
  ...{ front: null, stall: null, extras: null, donate: null, sponsors: new Sponsors(), placed: null },
  ...{ status: null, board: null, opensAt: null, busy: false, watching: false, repriced: false, heldUntil: 0, shownAt: 0 },
  latest: new Map(),
};
const parts = {};

function home() {
  return el("p", {}, el("a", { href: "/", class: "button" }, t("home")));
}

// --- what goes on ---------------------------------------------------------------------------------------------

function life() {
  const state = view.status?.state ?? view.front.state;
  if (state === "live") return "live";
  return state === "ended" || state === "settled" ? "over" : "soon";
}

function timerAt(what) {
  return view.board?.timer?.what === what ? view.board.timer.at : null;
}

// When the basket can be bought, in the server's time; null once that is past or nobody has said.
function opensAt() {
  const mine = view.stall.lines().map(({ sku }) => view.stall.offerOf(sku).opens_at);
  const stream = timerAt("opens") ?? view.status?.opens_at ?? view.front.opens_at;
  const at = [view.opensAt, stream, ...mine].filter(Boolean).map((text) => Date.parse(text));
  const last = Math.max(...at);
  return last > serverNow() ? last : null;
}

function closesAt() {
  const at = timerAt("closes");
  return at ? Date.parse(at) : null;
}

function seeLife() {
  const now = life();
  parts.hero?.seeLife(now, opensAt(), closesAt());
  if (view.lifeBefore === "soon" && now === "live") announce(t("liveSaid"));
  view.lifeBefore = now;
  if (now === "over") view.stall.close();
  paintBuy();
}

// --- buying ---------------------------------------------------------------------------------------------------

// What needs something of the shopper interrupts, the rest waits for its turn; both regions stand there beforehand.
function message(text, kind = "") {
  const region = kind === "bad" ? parts.urgent : parts.polite;
  if (parts.message.parentNode !== region) region.append(parts.message);
  view.repriced = false;
  parts.message.hidden = !text;
  parts.message.className = `note ${kind}`;
  say(parts.message, text ?? "");
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

function buyText(total) {
  const opens = opensAt();
  const now = life();
  if (now === "over") return t("over");
  if (opens !== null) return t("opensIn", { clock: clock((opens - serverNow()) / 1000) });
  if (now === "soon") return t(timerAt("opens") ? "opening" : "soon");
  if (view.stall.isSoldOut()) return t("soldOut");
  return total === 0 ? t("pick") : t("buy", { amount: money(total, view.front.currency) });
}

function paintBuy() {
  if (!parts.buy || view.busy || !parts.buy.isConnected) return;
  const sums = reckon(view.front, view.stall.lines(), view.extras.body());
  view.extras.paint(sums);
  paintSums(sums);
  const total = sums.goods ? sums.total : 0;
  const odd = sums.shipping === null || view.extras.trouble(sums.gifts) !== null;
  const shut = life() !== "live" || opensAt() !== null || view.stall.isSoldOut();
  parts.buy.disabled = shut || total === 0 || odd || performance.now() < view.heldUntil;
  say(parts.buy, buyText(total));
  // What can no longer be bought needs no word about its price.
  if (shut && view.repriced) message(null);
  parts.sums.hidden ||= shut;
  parts.instead.hidden = !view.donate || !(life() === "over" || view.stall.isSoldOut());
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
  const promised = new Map(view.stall.lines().map(({ sku }) => [sku, view.stall.offerOf(sku).price_minor]));
  try {
    const order = await attempt.finish(() => message(t("placing")));
    keepOrder(streamId, order.id);
    view.stall.clear();
    view.extras.clear();
    openOrder(order.id, promised);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    message(refusalText(error), view.watching || error.code === "not_open" ? "" : "bad");
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

function giveInstead() {
  const { node } = view.donate;
  node.open = true;
  node.scrollIntoView({ block: "start" });
  node.querySelector("summary").focus({ preventScroll: true });
}

function checkout() {
  parts.message = el("p", { class: "note", hidden: true });
  parts.polite = el("div", { role: "status" }, parts.message);
  parts.urgent = el("div", { role: "alert" });
  parts.sums = el("p", { class: "sums small num", id: "sums", hidden: true });
  parts.buy = el("button", { type: "button", class: "wide", id: "buy", onclick: buy, "aria-describedby": "sums" }, t("loading"));
  parts.instead = el("button", { type: "button", class: "quiet wide", id: "instead", hidden: true, onclick: giveInstead }, t("giveInstead"));
  const bar = [parts.polite, parts.urgent, parts.sums, parts.buy, parts.instead];
  const node = el("section", { class: "checkout", "aria-label": t("checkout") }, ...bar);
  // The bar lies over the foot of the page; what it covers can still be scrolled into sight.
  const makeRoom = () => {
    find("main").style.setProperty("--bar", `${node.offsetHeight}px`);
    document.documentElement.style.scrollPaddingBottom = `${node.offsetHeight}px`;
  };
  new ResizeObserver(makeRoom).observe(node);
  return node;
}

function stallView() {
  view.placed?.stop();
  const back = view.placed !== null;
  view.placed = null;
  history.replaceState(null, "", location.pathname + withoutOrder());
  const kept = keptOrder(streamId);
  const link = el("button", { class: "quiet wide", type: "button", onclick: () => openOrder(kept.id) }, t("openOrder"));
  const empty = view.front.offers.length === 0;
  const bar = checkout();
  parts.hero = new Hero(view.front, () => view.stall.goTo(view.board?.pinned_sku));
  view.stall.order.settle(true);
  show(
    parts.hero.node,
    view.sponsors.node,
    kept ? el("div", { class: "actions" }, link) : "",
    ...(empty ? [emptyState(t("nothing"), t("nothingText"))] : [view.stall.node, view.extras.node]),
    view.donate?.node ?? "",
    termsCard(view.front),
    empty ? "" : bar,
  );
  find("main").classList.toggle("buying", !empty);
  view.shownAt = performance.now();
  for (const each of view.latest.values()) take(each);
  seeLife();
  if (back) parts.hero.title.focus();
}

// --- the order ------------------------------------------------------------------------------------------------

function withoutOrder() {
  const query = new URLSearchParams(location.search);
  query.delete("order");
  return `?${query}`.replace(/^\?$/, "");
}

function payHref(orderId) {
  return `/pay/${encodeURIComponent(orderId)}${location.search.includes("locale=") ? withoutOrder() : ""}`;
}

function openOrder(orderId, promised) {
  view.placed?.stop();
  const query = new URLSearchParams(location.search);
  query.set("order", orderId);
  history.replaceState(null, "", `${location.pathname}?${query}`);
  find("main").classList.remove("buying");
  const nameOf = (sku) => view.stall.nameOf(sku);
  view.placed = new Placed({ streamId, orderId, promised, nameOf, payHref: payHref(orderId), onBack: stallView });
  view.placed.start();
}

// --- what is new ----------------------------------------------------------------------------------------------

function seeStock(items) {
  if (!view.stall.see(items) || !view.watching) return;
  view.watching = false;
  message(t("cameBack"), "good");
  navigator.vibrate?.(120);
}

function seePrices(cards) {
  const changed = view.stall.reprice(cards);
  if (changed.length === 0 || view.busy || view.placed) return;
  view.heldUntil = performance.now() + NEW_PRICE_MS;
  message(changed.map((each) => t("priceChanged", each)).join(" "));
  view.repriced = true;
}

function seeBoard(board) {
  const before = view.board?.pinned_sku;
  view.board = board;
  seePrices(board.cards);
  const pinned = view.stall.offerOf(board.pinned_sku);
  view.stall.pin(board.pinned_sku);
  parts.hero.seePinned(pinned);
  if (pinned && before !== undefined && before !== board.pinned_sku) announce(t("pinned", { name: named(pinned) }));
  arrange();
  if (board.cards.some(({ sku }) => !view.stall.offerOf(sku))) view.feed.ask();
}

function arrange() {
  const early = performance.now() - view.shownAt < ARRANGING_MS && view.stall.order.touchedAt < view.shownAt;
  view.stall.order.settle(early || document.hidden);
}

function take(each) {
  const part = each.topic.split("/")[2];
  view.latest.set(part, each);
  if (part === "tally") parts.hero.seeTally(each.state);
  if (part === "status") view.status = each.state;
  if (part === "stock") seeStock(each.state.items);
  if (part === "board") seeBoard(each.state);
  if (part === "status" || part === "board") view.opensAt = null;
  seeLife();
}

// The shop window of now. It is a moment older than frames, so it tells of stock and prices only while none come.
function seeFront(front, alone) {
  view.sponsors.take(front);
  const empty = view.front.offers.length === 0;
  if (view.stall.add(front.offers.filter(({ sku }) => !view.stall.offerOf(sku))) && empty && !view.placed) stallView();
  if (!alone) return;
  view.status = { ...view.status, state: front.state, opens_at: front.opens_at };
  seeStock(front.offers);
  seePrices(front.offers);
  seeLife();
}

function begin() {
  document.title = named(view.front, "title");
  view.stall = new Stall(view.front, () => paintBuy());
  view.extras = new Extras(view.front, () => paintBuy());
  if (view.front.gifts && view.front.state !== "settled") view.donate = new Donate(view.front, openGift);
  view.sponsors.take(view.front);
  seeStock(view.front.offers);
  view.feed = new ShopFeed(view.front, { onFrame: take, onFront: seeFront });
  setInterval(() => {
    seeLife();
    arrange();
  }, 500);
}

function openGift({ id }) {
  // An order of goods that waits in the queue is the one to find again here; a gift has its page and its link.
  if (!keptOrder(streamId)) keepOrder(streamId, id, true);
  location.assign(payHref(id));
}

async function start() {
  frame();
  show(el("p", { class: "empty" }, t("loading")));
  try {
    view.front = await untilKnown(() => storefront(streamId));
  } catch {
    return show(emptyState(t("notFound"), t("notFoundText"), home()));
  }
  begin();
  const asked = new URLSearchParams(location.search).get("order");
  stallView();
  // Nothing moves any more in what is settled.
  if (view.front.state !== "settled") view.feed.start();
  const kept = keptOrder(streamId);
  if (attempt.pending()) place();
  else if (view.donate?.attempt.pending()) view.donate.finish();
  else if (asked) openOrder(asked);
  else if (kept && !kept.seen) openOrder(kept.id);
}

start();
