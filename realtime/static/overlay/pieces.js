// Pieces that more than one widget is made of: a bar, a stamp, a figure on reels, a correction. Each is made once and
// told what to show; motion is the style sheet's business and touches nothing but transforms and opacity.

import { showDigits } from "../digits.js";
import { el, say } from "../dom.js";
import { clock, translator } from "../i18n.js";
import { money } from "../money.js";
import { t } from "./words.js";

const DIP_MS = 8_000;
const DAY_MS = 86_400_000;
const QR_AGAIN_MS = 15_000;

const corrected = translator({ corrected: ["corrected {amount}", "更正 {amount}"] });

// A bar that is filled from its reading edge; part in basis points.
export function bar(attributes = {}) {
  const fill = el("div", { class: "fill" });
  const node = el("div", { role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, ...attributes }, fill);
  node.classList.add("bar");
  return node;
}

export function fillBar(node, partBp) {
  const kept = Math.min(Math.max(partBp, 0), 10_000);
  node.firstChild.style.setProperty("--part", String(kept / 10_000));
  node.setAttribute("aria-valuenow", String(Math.floor(kept / 100)));
}

// What part of whole is, in basis points rounded down, however large the amounts: full only when it is reached.
export function partBp(part, whole) {
  if (whole <= 0) return 0;
  return Number((BigInt(Math.max(part, 0)) * 10_000n) / BigInt(whole));
}

export function figure(attributes = {}) {
  return el("p", { class: "figure", ...attributes });
}

export function showFigure(node, text) {
  showDigits(node, text);
}

// "SOLD OUT", with the time it took where the books know it of that offer.
export function stamp() {
  return el("span", { class: "stamp" });
}

export function stampText(item) {
  const tookMs = item.sold_out_in_ms ?? DAY_MS;
  return tookMs < DAY_MS ? t("soldOutIn", { clock: clock(tookMs / 1000) }) : t("soldOut");
}

// What was raised may fall: a refund, a payment that its bank took back. The total says so for a while instead of
// dropping in silence. Both figures are frames' own; the frames say what stands, not why.
export class Dip {
  constructor(ctx) {
    this.ctx = ctx;
    this.node = el("p", { class: "dip", role: "status", hidden: true });
    this.last = null;
    this.fromMinor = null;
    this.until = 0;
  }

  see(minor, currency) {
    const now = performance.now();
    if (this.last?.currency === currency && minor < this.last.minor) {
      if (now > this.until) this.fromMinor = this.last.minor;
      this.until = now + DIP_MS;
      this.ctx.again(DIP_MS + 50);
    }
    this.last = { minor, currency };
    const fell = minor - (this.fromMinor ?? minor);
    const shows = now < this.until && fell < 0;
    this.node.hidden = !shows;
    if (shows) say(this.node, corrected("corrected", { amount: money(fell, currency).replace("-", "−") }));
  }
}

// A code stands dark on white with four modules of quiet around it, whatever the theme: cameras want nothing else.
export function qrPlate(words) {
  const image = el("img", { class: "qr-code", alt: words, decoding: "async", hidden: true });
  image.addEventListener("load", () => (image.hidden = false));
  image.addEventListener("error", () => {
    image.hidden = true;
    delete image.dataset.asked;
  });
  return el("figure", { class: "qr-plate" }, image, el("figcaption", {}, words));
}

// Ask for the code once; when that failed, again with one of the next paintings.
export function showQr(node, ctx) {
  const image = node.querySelector("img");
  const now = performance.now();
  if (image.dataset.asked || now < (ctx.qrNotBefore ?? 0)) return;
  ctx.qrNotBefore = now + QR_AGAIN_MS;
  image.dataset.asked = "1";
  image.src = `/v1/streams/${encodeURIComponent(ctx.streamId)}/qr.svg`;
}
