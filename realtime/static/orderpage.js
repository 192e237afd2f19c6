// The page of one order, whoever opened it: everything told from its state. The pay page adds the card form to it.
// A form stays the same node for as long as it applies, so that no news of the order takes away what is typed in it.

import { Refusal, untilKnown } from "./api.js";
import { el, find, replaceKept } from "./dom.js";
import { named, timeAndDay } from "./i18n.js";
import { contactCard, follow, isGift, outcome, payClock, paysElsewhere, queueCard, seeDue, steps, summary, wantsContact } from "./order.js";
import { OrderActions, act, saying } from "./orderactions.js";
import { w } from "./order_words.js";
import { emptyState, show } from "./page.js";
import { sellerTerms } from "./promises.js";
import { t } from "./shop_words.js";
import { storefront } from "./storefront.js";

const AGAIN = ["EXPIRED", "CANCELLED", "REFUNDED"];

export class OrderPage {
  // form: paints the way to pay where this browser may pay with a card; else Stripe's own page is offered.
  constructor(access, { form = null } = {}) {
    Object.assign(this, { access, form });
    this.order = null;
    this.names = new Map();
    // What the page shows now, in short, so that only a change repaints it.
    this.painted = null;
    // The forms that stand on the page; each goes when the order has no use for it any more.
    this.contact = null;
    this.paying = null;
    this.actions = new OrderActions(access, (sku) => this.nameOf(sku), () => this.refresh());
    // While paying is under way, a look at the order must not take the form away.
    this.held = false;
    this.stopped = false;
  }

  nameOf = (sku) => this.names.get(sku) ?? sku;

  shopHref() {
    return `/shop/${encodeURIComponent(this.order.stream_id)}`;
  }

  async start() {
    document.title = t("yourOrder");
    show(el("p", { class: "empty" }, t("loading")));
    try {
      this.order = await untilKnown(() => this.access.read());
    } catch {
      const home = el("a", { class: "button", href: "/" }, t("home"));
      return show(emptyState(t("noOrder"), w("openLink"), home));
    }
    await this.learnNames();
    return follow(this.access, (order) => this.paint(order), () => {}, () => this.stopped);
  }

  async learnNames() {
    try {
      const front = await untilKnown(() => storefront(this.order.stream_id), { tries: 3 });
      for (const offer of front.offers) this.names.set(offer.sku, named(offer));
    } catch {
      // The lines show their SKU instead.
    }
  }

  async refresh() {
    const order = await untilKnown(() => this.access.read());
    this.paint(order, true);
    return order;
  }

  paint(order, again = false) {
    this.order = order;
    if (this.held) return;
    const { state, notice, refunded_minor: back, refund_pending_minor: soon, display, fulfilment } = order;
    const queue = state === "RESERVED" ? [order.ahead, order.minutes] : [];
    const paying = [paysElsewhere(order), outcome(order) !== null, order.attempts_left === 0];
    const seen = [state, order.contact_given, order.pay_by, notice, back, soon, display, fulfilment, ...queue, ...paying];
    const picture = JSON.stringify(seen);
    if (picture === this.painted && !again) return;
    this.painted = picture;
    this.draw();
  }

  draw() {
    const { order } = this;
    const done = outcome(order);
    const news = document.title;
    document.title = done?.querySelector("h1").textContent ?? t(order.state === "RESERVED" ? "yourOrder" : "payTitle");
    if (!done && order.state === "AWAITING_PAYMENT" && !wantsContact(order)) return this.drawPaying();
    const parts = [steps(order), done];
    if (order.state === "RESERVED") parts.push(queueCard(order));
    if (!done && wantsContact(order)) parts.push(this.contactPart());
    else this.contact = null;
    this.put(...parts);
    if (done) this.toVerdict(done, news !== document.title);
    return null;
  }

  contactPart() {
    this.contact ??= contactCard(this.order, this.access, () => this.refresh());
    seeDue(this.contact, this.order);
    return this.contact;
  }

  // News is read from its heading on, but nobody who is typing is taken there.
  toVerdict(done, isNew) {
    const { activeElement: here, body } = document;
    if (here !== body && (!isNew || here.matches("input, textarea"))) return;
    done.querySelector("h1").focus({ preventScroll: !isNew });
  }

  // The given parts, then what every state has: receipt, what can be done, and the way back.
  put(...parts) {
    const { order } = this;
    // What somebody unfolded stays so where it has to be made anew under their finger.
    const unfolded = [...find("main").querySelectorAll("details[open][id]")].map((fold) => fold.id);
    this.actions.see(order);
    const word = AGAIN.includes(order.state) && !isGift(order) ? "again" : "backToShop";
    const back = el("a", { class: "button quiet wide", href: this.shopHref() }, t(word));
    const kept = [...parts, this.receipt(), this.actions.node, el("p", { class: "actions" }, back)];
    replaceKept(find("main"), kept.filter(Boolean));
    for (const fold of unfolded.map(find).filter(Boolean)) fold.open = true;
  }

  receipt() {
    const { order } = this;
    const told = { order: order.id.slice(-6).toUpperCase(), time: timeAndDay(order.placed_at) };
    const terms = sellerTerms(order);
    return el(
      "section",
      { class: "card", id: "receipt" },
      el("h2", {}, isGift(order) ? w("yourGift") : t("yourOrder")),
      summary(order, this.nameOf),
      el("p", { class: "soft small gap num" }, w("number", told)),
      terms.length ? el("dl", { class: "terms small" }, ...terms) : null,
    );
  }

  drawPaying() {
    const { order } = this;
    this.contact = null;
    const head = el("div", { class: "spread" }, el("h1", {}, t("payTitle")), payClock(order));
    if (paysElsewhere(order)) return this.put(steps(order), head, this.elsewhereCard());
    if (order.attempts_left === 0) return this.put(steps(order), head, el("p", { class: "note bad" }, t("noTries")));
    const stripe = this.stripePart(this.form ? "elsewhere" : "onStripe", this.form !== null);
    if (!this.form) return this.put(steps(order), head, el("section", { class: "card" }, el("p", { class: "soft" }, w("holderPay")), stripe));
    // A card that is being typed in stays, whatever else there is to tell about the order.
    const stays = this.paying?.node.isConnected;
    if (!stays) this.paying = this.form(order, stripe);
    this.put(steps(order), head, this.paying.node);
    return stays ? null : this.paying.mount();
  }

  stripePart(word, quiet) {
    const button = el("button", { type: "button", class: quiet ? "quiet wide" : "wide", id: "checkout" }, w(word));
    button.addEventListener("click", () => this.goToStripe(button));
    return el("div", { class: "aside" }, button, el("p", { class: "soft small" }, w("onStripeText")));
  }

  elsewhereCard() {
    const go = el("button", { type: "button", class: "wide", id: "checkout" }, w("openAgain"));
    go.addEventListener("click", () => this.goToStripe(go));
    const here = el("button", { type: "button", class: "quiet wide", id: "pay-here" }, w("payHere"));
    here.addEventListener("click", async () => {
      await act(here, () => this.access.ask("DELETE", "/checkout"));
      await this.refresh();
    });
    const text = el("p", {}, w("openText"));
    const buttons = el("div", { class: "actions" }, go, this.form ? here : null);
    return el("section", { class: "card", role: "status" }, el("h2", {}, w("openTitle")), text, buttons);
  }

  // The shopper leaves for Stripe's page and comes back to this order's.
  async goToStripe(button) {
    button.disabled = true;
    button.parentNode.querySelector(".note")?.remove();
    try {
      const { url } = await untilKnown(() => this.access.ask("POST", "/checkout", { timeoutMs: 30_000 }), { tries: 4 });
      if (!/^https?:\/\//.test(url)) throw new Refusal(422, { detail: url });
      location.assign(url);
    } catch (error) {
      button.disabled = false;
      const text = error instanceof Refusal ? saying(error) : w("payLater");
      button.after(el("p", { class: "note bad", role: "alert" }, text));
      if (error instanceof Refusal) await this.refresh();
    }
  }
}
