// The payment of one order, on a page of its own because only here may the payment provider's script run. The order
// decides what is shown; the provider's answers only decide when to ask for the order again.

import { Refusal, sleep, untilKnown } from "./api.js";
import { el, find, say } from "./dom.js";
import { count, locale, named } from "./i18n.js";
import { money, stripeAmount } from "./money.js";
import { follow, outcome, payClock, readOrder, steps, summary } from "./order.js";
import { emptyState, frame, show } from "./page.js";
import { asShopper } from "./shopper.js";
import { t } from "./shop_words.js";
import { storefront } from "./storefront.js";

const CHECKING_TRIES = 20;

const orderId = decodeURIComponent(location.pathname.split("/")[2]);
const view = { meta: null, order: null, names: new Map(), stripe: null, elements: null, busy: false };
const parts = {};
// What the page shows now, in short, so that only a change repaints it.
let painted = null;

function nameOf(sku) {
  return view.names.get(sku) ?? sku;
}

function message(text, kind = "bad") {
  parts.message.hidden = !text;
  parts.message.className = `note ${kind}`;
  say(parts.message, text ?? "");
}

function shopHref(withOrder = true) {
  const shop = `/shop/${encodeURIComponent(view.order.stream_id)}`;
  return withOrder ? `${shop}?order=${encodeURIComponent(orderId)}` : shop;
}

function mountForm(host) {
  if (typeof globalThis.Stripe !== "function") {
    parts.pay.hidden = true;
    message(t("formMissing"));
    host.replaceChildren(el("button", { type: "button", onclick: () => location.reload() }, t("retry")));
    return;
  }
  const { amount_minor: minor, currency } = view.order.total;
  view.stripe = globalThis.Stripe(view.meta.stripe_publishable_key, { locale: locale === "zh-CN" ? "zh" : "en" });
  view.elements = view.stripe.elements({
    mode: "payment",
    amount: stripeAmount(minor, currency),
    currency: currency.toLowerCase(),
    paymentMethodTypes: ["card"],
  });
  view.elements.create("payment").mount(host);
}

function formView(order) {
  const amount = money(order.total.amount_minor, order.total.currency);
  const host = el("div", { id: "form-of-stripe" });
  parts.message = el("p", { class: "note", role: "alert", hidden: true });
  parts.pay = el("button", { class: "wide", id: "pay", type: "submit" }, t("pay", { amount }));
  const submit = (event) => {
    event.preventDefault();
    pay();
  };
  show(
    steps(order),
    el("div", { class: "spread" }, el("h1", {}, t("payTitle")), payClock(order)),
    el("section", { class: "card" }, summary(order, nameOf)),
    el(
      "form",
      { class: "card", onsubmit: submit, novalidate: true },
      el("p", { class: "soft small" }, t("card")),
      host,
      parts.message,
      parts.pay,
    ),
  );
  mountForm(host);
  parts.host = host;
}

function outcomeView(order, node) {
  const again = ["EXPIRED", "CANCELLED", "REFUNDED"].includes(order.state);
  const wait = !again && order.state !== "PAID";
  const link = again ? el("a", { class: "button", href: shopHref(false) }, t("again")) : null;
  const back = el("a", { class: again ? "button quiet" : "button", href: shopHref(false) }, t("backToShop"));
  show(
    steps(order),
    node,
    el("section", { class: "card" }, el("h2", {}, t("yourOrder")), summary(order, nameOf)),
    wait ? "" : el("p", { class: "actions" }, link ?? back),
  );
  document.title = node.querySelector("h1").textContent;
  node.querySelector("h1").focus();
}

function waitView(order) {
  painted = null;
  outcomeView(order, outcome({ ...order, state: "PROCESSING" }));
}

function confirmed() {
  return asShopper("POST", `/orders/${encodeURIComponent(orderId)}/pay`, {
    body: { confirmation_token: view.token },
    timeoutMs: 30_000,
  });
}

async function newToken() {
  const { error } = await view.elements.submit();
  if (error) throw new Refusal(402, { detail: error.message, code: "card" });
  const made = await view.stripe.createConfirmationToken({
    elements: view.elements,
    params: { return_url: location.href.split("#")[0] },
  });
  if (made.error) throw new Refusal(402, { detail: made.error.message, code: "card" });
  view.token = made.confirmationToken.id;
}

async function pay() {
  if (view.busy) return;
  view.busy = true;
  parts.pay.disabled = true;
  say(parts.pay, t("checking"));
  message(null);
  try {
    await newToken();
    // The same token may be sent again: the order's lock and Stripe's idempotency make it one payment.
    const answer = await untilKnown(confirmed, { onWait: () => message(t("offline"), ""), tries: 6 });
    await afterAnswer(answer);
  } catch (error) {
    if (error instanceof Refusal) await afterRefusal(error);
    else await checkUntilClear();
  } finally {
    view.busy = false;
    if (parts.pay.isConnected) {
      parts.pay.disabled = false;
      say(parts.pay, t("pay", { amount: money(view.order.total.amount_minor, view.order.total.currency) }));
    }
  }
}

async function afterAnswer({ payment, tries_left: left }) {
  if (payment.status === "declined") {
    message(`${t("declined")} ${left > 0 ? t("triesLeft", { n: count(left) }) : t("noTries")}`);
    parts.pay.hidden = left === 0;
    return;
  }
  if (payment.status === "requires_action") {
    const { error } = await view.stripe.handleNextAction({ clientSecret: payment.client_secret });
    if (error) {
      message(t("unfinished"));
      return;
    }
  }
  await checkUntilClear();
}

async function afterRefusal(error) {
  if (error.code === "card") return message(error.message);
  view.order = await untilKnown(() => readOrder(orderId));
  if (outcome(view.order)) paint(view.order);
  else message(t("refused", { detail: error.message }));
}

// After a payment was sent the shopper sees "checking" until the order itself says what became of it: paid, declined,
// or, when for long nothing was even begun, that the request never arrived.
async function checkUntilClear() {
  view.checking = true;
  waitView(view.order);
  let status = null;
  for (let n = 0; ; n += 1) {
    view.order = await untilKnown(() => readOrder(orderId));
    status = view.order.payment?.status ?? null;
    if (outcome(view.order) || status === "declined" || (status === null && n >= CHECKING_TRIES)) break;
    await sleep(Math.min(700 + n * 50, 2500) + Math.random() * 400);
  }
  view.checking = false;
  paint(view.order);
  if (!outcome(view.order) && status === "declined") message(t("declined"));
}

function paint(order) {
  view.order = order;
  if (view.checking) return;
  // While an answer is awaited, or the bank's question stands open, a poll does not take the form away.
  if (view.busy && order.state === "AWAITING_PAYMENT" && painted) return;
  const done = outcome(order);
  const out = done || order.attempts_left === 0;
  const picture = `${order.state},${order.contact_given},${order.pay_by},${done !== null}`;
  if (picture === painted && find("main").firstChild) return;
  painted = picture;
  if (done) return outcomeView(order, done);
  if (order.state === "RESERVED" || !order.contact_given) return location.replace(shopHref());
  formView(order);
  if (out) {
    parts.pay.hidden = true;
    message(t("noTries"));
  }
}

async function learnNames(order) {
  try {
    const front = await untilKnown(() => storefront(order.stream_id), { tries: 3 });
    for (const offer of front.offers) view.names.set(offer.sku, named(offer));
  } catch {
    // The lines show their SKU instead.
  }
}

async function start() {
  document.title = t("payTitle");
  show(el("p", { class: "empty" }, t("loading")));
  view.meta = await frame();
  try {
    view.order = await untilKnown(() => readOrder(orderId));
  } catch {
    return show(emptyState(t("noOrder"), t("noOrderText"), el("a", { class: "button", href: "/" }, t("home"))));
  }
  await learnNames(view.order);
  const trouble = () => {};
  follow(orderId, paint, trouble, () => false);
}

start();
