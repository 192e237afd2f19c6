// An order as the shop shows it once it was placed: address, place in the queue, the way to pay, the outcome. Each step
// begins at its heading, where the focus goes; what somebody is typing stays theirs while the order moves on.

import { Refusal } from "./api.js";
import { dropOrder, keepOrder, keptOrder } from "./attempt.js";
import { el } from "./dom.js";
import { money } from "./money.js";
import { contactCard, follow, isGift, outcome, payClock, queueCard, seeDue, seeQueue, steps, summary, wantsContact } from "./order.js";
import { OrderAccess } from "./orderaccess.js";
import { w } from "./order_words.js";
import { emptyState, show } from "./page.js";
import { t } from "./shop_words.js";

export class Placed {
  // promised: sku → the price the shopper saw when buying; nothing where the order was found again.
  constructor({ streamId, orderId, promised = new Map(), nameOf, payHref, onBack }) {
    Object.assign(this, { streamId, orderId, promised, nameOf, payHref });
    this.access = new OrderAccess(orderId);
    this.stopped = false;
    this.picture = null;
    this.order = null;
    this.contact = null;
    this.trouble = el("div", { role: "status" });
    this.body = el("div", {}, el("p", { class: "empty" }, t("loading")));
    this.manage = el("a", { class: "button quiet wide", id: "manage", href: payHref, hidden: true }, w("manage"));
    const back = el("button", { class: "quiet wide", type: "button", onclick: onBack }, t("backToShop"));
    this.nodes = [this.trouble, this.body, el("div", { class: "actions" }, this.manage, back)];
  }

  start() {
    show(...this.nodes);
    scrollTo(0, 0);
    follow(this.access, (order) => this.see(order), (error) => this.seeTrouble(error), () => this.stopped);
  }

  stop() {
    this.stopped = true;
  }

  isKept() {
    return keptOrder(this.streamId)?.id === this.orderId;
  }

  seeTrouble(error) {
    this.trouble.replaceChildren();
    if (error instanceof Refusal) {
      if (this.isKept()) dropOrder(this.streamId);
      this.body.replaceChildren(emptyState(t("noOrder"), t("noOrderText")));
      this.manage.hidden = true;
    } else if (error) this.trouble.append(el("p", { class: "note" }, t("offline")));
  }

  see(order) {
    if (isGift(order)) return location.replace(this.payHref);
    const before = this.order;
    this.order = order;
    if (this.isKept()) keepOrder(this.streamId, this.orderId, true);
    // Only what changes the picture repaints it; a place in the queue moves within it.
    const picture = [order.state, order.contact_given, order.pay_by, order.notice, order.payment?.status].join();
    if (picture !== this.picture) {
      this.picture = picture;
      this.paint(before);
    } else if (order.state === "RESERVED") seeQueue(this.body, order);
    return null;
  }

  paint(before) {
    const { order, body } = this;
    const typing = body.contains(document.activeElement) && document.activeElement.matches("input, textarea");
    const typed = typing ? document.activeElement : null;
    this.manage.hidden = false;
    body.replaceChildren(...this.cards());
    if (typed?.isConnected) typed.focus({ preventScroll: true });
    // A payment that is looked at again is no new step.
    else if (before?.state !== order.state || before?.contact_given !== order.contact_given) this.toHeading();
  }

  toHeading() {
    // The address is the shopper's move; the queue above it moves by itself.
    const asked = wantsContact(this.order) ? this.contact?.querySelector("h2") : null;
    const heading = asked?.isConnected ? asked : this.body.querySelector(".verdict h1, section h2");
    heading?.setAttribute("tabindex", "-1");
    heading?.focus({ preventScroll: true });
    if (heading && heading.getBoundingClientRect().bottom > innerHeight) heading.scrollIntoView({ block: "center" });
  }

  cards() {
    const { order } = this;
    const done = outcome(order);
    const lines = el("section", { class: "card" }, el("h2", {}, t("whatYouOrdered")), summary(order, this.nameOf));
    if (done) return [steps(order), done, lines];
    const nodes = [el("h1", { class: "h1-small" }, t("yourOrder")), steps(order), this.missed()];
    if (order.state === "RESERVED") nodes.push(queueCard(order));
    if (wantsContact(order)) nodes.push(this.contactCard());
    if (!wantsContact(order) && order.state === "AWAITING_PAYMENT") nodes.push(this.payCard());
    return [...nodes, lines];
  }

  // One form for as long as an address is wanted, so that nothing typed is lost when the turn to pay comes.
  contactCard() {
    if (!this.contact) {
      const saved = () => this.see({ ...this.order, contact_given: true });
      this.contact = contactCard(this.order, this.access, saved);
    } else seeDue(this.contact, this.order);
    return this.contact;
  }

  payCard() {
    const { order } = this;
    const amount = money(order.total.amount_minor, order.total.currency);
    return el(
      "section",
      { class: "card" },
      el("div", { class: "spread" }, el("h2", {}, t("payTitle")), payClock(order)),
      el("p", { class: "gap" }, el("a", { class: "button wide", id: "go-pay", href: this.payHref }, t("pay", { amount }))),
    );
  }

  // A price that changed between the last picture and the tap is told before anything is paid.
  missed() {
    const { currency } = this.order.total;
    const notes = this.order.lines.filter((line) => (this.promised.get(line.sku) ?? line.unit_minor) !== line.unit_minor);
    const told = ({ sku, unit_minor: minor }) =>
      t("priceMissed", { name: this.nameOf(sku), before: money(this.promised.get(sku), currency), after: money(minor, currency) });
    return notes.length ? el("p", { class: "note", role: "alert" }, notes.map(told).join(" ")) : "";
  }
}
