// An address with a key in it, known only now: out of sight until somebody asks for it, because the screen it stands
// on is often the one that thousands watch.

import { toast } from "./dialog.js";
import { el, say } from "./dom.js";
import { translator } from "./i18n.js";

const t = translator({
  reveal: ["Reveal", "显示"],
  hide: ["Hide", "隐藏"],
  copy: ["Copy", "复制"],
  copied: ["Copied.", "已复制。"],
  hidden: ["Hidden, so that it is not read off your screen.", "已隐藏，避免在直播画面中泄露。"],
});

export class SecretLink {
  constructor(id) {
    this.url = null;
    this.revealed = false;
    this.text = el("p", { class: "secret", id });
    this.turn = el("button", { type: "button", class: "quiet", "data-do": "reveal", onclick: () => this.toggle() });
    const copy = el("button", { type: "button", "data-do": "copy", onclick: () => this.copy() }, t("copy"));
    this.buttons = el("div", { class: "buttons" }, this.turn, copy);
    this.node = el("div", { hidden: true });
  }

  hold(url) {
    this.url = url;
    this.revealed = false;
    this.paint();
  }

  paint() {
    this.node.hidden = false;
    // Only now, so that nothing to reveal is in the page while there is nothing.
    if (!this.node.firstChild) this.node.append(this.text, this.buttons);
    say(this.text, this.revealed ? this.url : t("hidden"));
    say(this.turn, t(this.revealed ? "hide" : "reveal"));
    this.turn.dataset.do = this.revealed ? "hide" : "reveal";
  }

  toggle() {
    this.revealed = !this.revealed;
    this.paint();
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.url);
      toast(t("copied"));
    } catch {
      // Without the clipboard (plain http) it is copied by hand.
      this.revealed = true;
      this.paint();
    }
  }
}
