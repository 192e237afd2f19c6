// The way to the shop for everyone who watches on another screen: a code on white, with its quiet zone, and the address
// in words for those who type.

import { el, say } from "../../dom.js";
import { translator } from "../../i18n.js";
import { flag } from "../parameters.js";
import { qrPlate, showQr } from "../pieces.js";

const t = translator({ scan: ["Scan to buy or give", "扫码购买或捐赠"] });

// As people type it: without scheme, and never longer than a line.
function spoken(address) {
  try {
    const { host, pathname } = new URL(address);
    return host + (pathname === "/" ? "" : pathname);
  } catch {
    return "";
  }
}

export default {
  parts: ["board"],
  at: "bottom-right",
  upright: "bottom",
  options: { text: flag(true) },
  ready: ({ board }) => Boolean(board?.shop_url),

  make({ params }) {
    const node = el("section", { class: "qr" }, qrPlate(t("scan")));
    if (params.text) node.append(el("p", { class: "address" }));
    return node;
  },

  paint(node, { board }, ctx) {
    showQr(node.querySelector(".qr-plate"), ctx);
    if (ctx.params.text) say(node.querySelector(".address"), spoken(board.shop_url));
  },
};
