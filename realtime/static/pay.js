// The payment of one order, on a page of its own because only here may the payment provider's script run. The order
// decides what is shown; the provider's answers only decide when to ask for the order again.

import { Refusal, sleep, untilKnown } from "./api.js";
import { el, say } from "./dom.js";
import { count, locale } from "./i18n.js";
import { money, stripeAmount } from "./money.js";
import { outcome, paysElsewhere, steps } from "./order.js";
import { OrderAccess } from "./orderaccess.js";
import { OrderPage } from "./orderpage.js";
import { w } from "./order_words.js";
import { frame, show } from "./page.js";
import { t } from "./shop_words.js";

const CHECKING_TRIES = 20;

const access = new OrderAccess(decodeURIComponent(location.pathname.split("/")[2]));
const view = { meta: null, options: null, stripe: null, elements: null, busy: false, told: null };
const parts = {};
const page = new OrderPage(access, { form: formOf });

function message(text, kind = "bad") {
  parts.message.hidden = !text;
  parts.message.className = `note ${kind}`;
  say(parts.message, text ?? "");
}

function payText() {
  const { amount_minor: minor, currency } = page.order.total;
  return t("pay", { amount: money(minor, currency) });
}

function formOf(order, stripePart) {
  const host = el("div", { id: "form-of-stripe" });
  parts.message = el("p", { class: "note", role: "alert", hidden: true });
  parts.pay = el("button", { class: "wide", id: "pay", type: "submit" }, payText());
  const submit = (event) => {
    event.preventDefault();
    pay();
  };
  const form = el("form", { class: "card", onsubmit: submit, novalidate: true });
  form.append(el("p", { class: "soft small" }, t("card")), host, parts.message, parts.pay, stripePart);
  const mount = async () => {
    if (view.told) message(view.told);
    view.told = null;
    await mountForm(host, order);
  };
  return { node: form, mount };
}

async function mountForm(host, order) {
  if (typeof globalThis.Stripe !== "function") {
    parts.pay.hidden = true;
    message(t("formMissing"));
    host.replaceChildren(el("button", { type: "button", onclick: () => location.reload() }, t("retry")));
    return;
  }
  parts.pay.disabled = true;
  view.options ??= await untilKnown(() => access.ask("GET", "/payment-options"));
  if (!host.isConnected) return;
  const { amount_minor: minor, currency } = order.total;
  view.stripe ??= globalThis.Stripe(view.meta.stripe_publishable_key, { locale: locale === "zh-CN" ? "zh" : "en" });
  view.elements = view.stripe.elements({
    mode: "payment",
    amount: stripeAmount(minor, currency),
    currency: currency.toLowerCase(),
    // The very list the payment is made with: Stripe refuses a token of another.
    paymentMethodTypes: view.options.methods,
  });
  view.elements.create("payment").mount(host);
  parts.pay.disabled = false;
}

function confirmed() {
  return access.ask("POST", "/pay", { body: { confirmation_token: view.token }, timeoutMs: 30_000 });
}

async function newToken() {
  const { error } = await view.elements.submit();
  if (error) throw new Refusal(402, { detail: error.message, code: "card" });
  const made = await view.stripe.createConfirmationToken({
    elements: view.elements,
    params: { return_url: view.options.return_url },
  });
  if (made.error) throw new Refusal(402, { detail: made.error.message, code: "card" });
  view.token = made.confirmationToken.id;
}

async function pay() {
  if (view.busy) return;
  view.busy = page.held = true;
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
    view.busy = page.held = false;
    if (parts.pay.isConnected) {
      parts.pay.disabled = false;
      say(parts.pay, payText());
    }
  }
}

function declined(left) {
  return `${w("tryAnother")} ${left > 0 ? t("triesLeft", { n: count(left) }) : t("noTries")}`;
}

async function afterAnswer({ payment, tries_left: left }) {
  if (payment.status === "declined") {
    message(declined(left));
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
  page.held = false;
  const order = await page.refresh();
  if (outcome(order) || paysElsewhere(order) || order.attempts_left === 0) return null;
  return message(error.status === 429 ? w("payLater") : t("refused", { detail: error.message }));
}

// After a payment was sent the shopper sees "checking" until the order itself says what became of it: paid, declined,
// or, when for long nothing was even begun, that the request never arrived.
async function checkUntilClear() {
  const waiting = { ...page.order, state: "PROCESSING" };
  show(steps(waiting), outcome(waiting), page.receipt());
  let status = null;
  for (let n = 0; ; n += 1) {
    page.order = await untilKnown(() => access.read());
    status = page.order.payment?.status ?? null;
    if (outcome(page.order) || status === "declined" || (status === null && n >= CHECKING_TRIES)) break;
    await sleep(Math.min(700 + n * 50, 2500) + Math.random() * 400);
  }
  page.held = false;
  if (!outcome(page.order) && status === "declined") view.told = declined(page.order.attempts_left);
  page.paint(page.order, true);
}

// A wallet, a bank or Stripe's page sends people back with words of its own in the address, a secret among them.
function cleanAddress() {
  const query = new URLSearchParams(location.search);
  if (query.get("redirect_status") === "failed") view.told = t("unfinished");
  for (const name of [...query.keys()]) if (name !== "locale") query.delete(name);
  history.replaceState(null, "", location.pathname + `?${query}`.replace(/^\?$/, ""));
}

async function start() {
  cleanAddress();
  view.meta = await frame();
  await page.start();
}

start();
