// The overlay's address: made once, shown only on a click, replaced when it leaked. The console is often on screen,
// so nothing of it is readable unless the host asks for it.

import { untilKnown } from "./api.js";
import { t } from "./console_words.js";
import { confirmed, toast } from "./dialog.js";
import { el, say } from "./dom.js";

export class OverlayKey {
  constructor(stream, api, act) {
    Object.assign(this, { stream, api, act });
    this.url = null;
    this.principal = null;
    this.text = el("p", { class: "soft small" }, t("overlayText"));
    this.secret = el("p", { class: "secret", id: "overlay-url", hidden: true });
    this.buttons = el("div", { class: "buttons" });
    this.node = el("section", { class: "card" }, el("h2", {}, t("overlayTitle")), this.text, this.secret, this.buttons);
    this.paint();
    this.find();
  }

  async find() {
    const query = `role=overlay&stream_id=${encodeURIComponent(this.stream.id)}&limit=100`;
    const { items } = await untilKnown(() => this.api("GET", `/principals?${query}`));
    this.principal = items.find((one) => !one.disabled_at) ?? null;
    this.paint();
  }

  button(word, onclick, kind = "quiet") {
    return el("button", { type: "button", class: kind, "data-do": word, onclick }, t(word));
  }

  paint() {
    const shown = [];
    if (this.url) {
      shown.push(this.button(this.revealed ? "hide" : "reveal", () => this.toggle()));
      shown.push(this.button("copy", () => this.copy(), ""));
      shown.push(this.button("rotate", (event) => this.rotate(event.target)));
    } else if (this.principal) shown.push(this.button("rotate", (event) => this.rotate(event.target)));
    else shown.push(this.button("newKey", (event) => this.create(event.target), ""));
    this.buttons.replaceChildren(...shown);
    this.secret.hidden = !this.url;
    say(this.secret, this.revealed ? this.url : t("hidden"));
    say(this.text, this.url ? t("once") : this.principal ? t("exists") : t("overlayText"));
  }

  hold(key) {
    this.url = `${location.origin}/overlay/all#${encodeURIComponent(key)}`;
    this.revealed = false;
    this.paint();
  }

  create(button) {
    return this.act(button, async () => {
      const body = { role: "overlay", name: "Overlay", stream_id: this.stream.id };
      const made = await this.api("POST", "/principals", body);
      this.principal = { id: made.id };
      this.hold(made.key);
    });
  }

  async rotate(button) {
    const words = { title: t("rotateTitle"), text: t("rotateText"), yes: t("rotateYes"), no: t("keep") };
    if (!(await confirmed(words))) return;
    await this.act(button, async () => {
      const made = await this.api("POST", `/principals/${encodeURIComponent(this.principal.id)}/keys`, {});
      this.hold(made.key);
    });
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
      // Without the clipboard (plain http) the host copies it by hand.
      this.revealed = true;
      this.paint();
    }
  }
}
