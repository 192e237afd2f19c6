// The real overlay in a frame, at the size it will have in OBS, scaled to fit this page. It runs with the host's own
// key, so it needs no key of an overlay; and it says of no alert that it was shown.

import { el, say } from "../dom.js";
import { t } from "./words.js";

const SETTLE_MS = 300;
const BACKDROPS = ["checker", "picture", "black"];

export class Preview {
  constructor() {
    this.frame = el("iframe", { title: t("previewTitle"), tabindex: "-1", id: "preview" });
    this.stage = el("div", { class: "stage", "data-backdrop": "checker" }, this.frame);
    this.note = el("p", { class: "soft small", id: "obs-size" });
    const picks = BACKDROPS.map((name, n) =>
      el(
        "label",
        { class: "check" },
        el("input", { type: "radio", name: "backdrop", value: name, checked: n === 0, onchange: () => (this.stage.dataset.backdrop = name) }),
        t(name),
      ),
    );
    const again = el("button", { type: "button", class: "quiet", onclick: () => this.load() }, t("again"));
    const bar = el("fieldset", { class: "backdrops" }, el("legend", { class: "small soft" }, t("backdrop")), ...picks, again);
    const hint = el("p", { class: "soft small" }, t("mayBeEmpty"), " ", t("noDelay"));
    this.node = el("section", { class: "card preview" }, el("h2", {}, t("preview")), this.stage, this.note, bar, hint);
    this.timer = null;
    this.shown = null;
    new ResizeObserver(() => this.fit()).observe(this.stage);
  }

  // path: of the overlay with its parameters; secret: what goes after the #.
  show({ path, secret, width, height }) {
    this.path = path;
    this.secret = secret;
    this.width = width;
    this.height = height;
    say(this.note, t("enter", { width, height }));
    this.fit();
    clearTimeout(this.timer);
    if (this.shown !== path) this.timer = setTimeout(() => this.load(), this.shown ? SETTLE_MS : 0);
  }

  // By replacing what the frame shows: the key is in no attribute of this page and in no history.
  load() {
    this.shown = this.path;
    this.frame.contentWindow.location.replace(`about:blank`);
    this.frame.contentWindow.location.replace(`${location.origin}${this.path}#${encodeURIComponent(this.secret)}`);
  }

  fit() {
    if (!this.width) return;
    const room = this.stage.clientWidth;
    const most = Math.min(room / this.width, (innerHeight * 0.72) / this.height);
    this.frame.width = this.width;
    this.frame.height = this.height;
    this.frame.style.setProperty("transform", `translateX(-50%) scale(${most})`);
    this.stage.style.setProperty("height", `${Math.round(this.height * most)}px`);
    this.stage.style.setProperty("--shown-width", `${Math.round(this.width * most)}px`);
  }
}
