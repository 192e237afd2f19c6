// The overlay's address: made once, shown only on a click, replaced without a dark screen: the old one goes on
// working for as long as it takes to put the new one into OBS, or ends at once where it leaked.

import { untilKnown } from "./api.js";
import { confirmed } from "./dialog.js";
import { el, say } from "./dom.js";
import { translator } from "./i18n.js";
import { SecretLink } from "./secretlink.js";

const t = translator({
  title: ["Overlay for OBS", "OBS 叠加层"],
  text: [
    "Add a browser source of 1920 × 1080 with this address. Whoever has it can see the overlay and nothing else.",
    "在 OBS 中添加 1920 × 1080 的浏览器源并填入该网址。持有者只能查看叠加层。",
  ],
  compose: ["Choose widgets, look and size", "选择组件、外观和尺寸"],
  newKey: ["Make an address", "生成网址"],
  rotate: ["Replace the address…", "更换网址…"],
  rotateTitle: ["Replace the overlay's address?", "确定更换叠加层网址？"],
  rotateNow: ["Overlays with the old one stop at once: put the new one into OBS.", "使用旧网址的叠加层会立即停止，请在 OBS 中换成新网址。"],
  rotateLater: ["The old one goes on working meanwhile: {for}. Put the new one into OBS before that.", "旧网址继续有效：{for}。请在此之前在 OBS 中更换。"],
  rotateYes: ["Replace it", "确定更换"],
  keep: ["Keep it", "保留"],
  grace: ["The old address works for", "旧网址继续有效"],
  0: ["not at all (it leaked)", "立即失效（已泄露）"],
  600: ["10 more minutes", "再 10 分钟"],
  3600: ["one more hour", "再 1 小时"],
  86400: ["one more day", "再 1 天"],
  once: ["It is shown only now: copy it before you leave this page.", "仅此时可见：离开页面前请复制。"],
  exists: ["An overlay address is in use. Its key is not shown again; replace it if it is lost.", "已有叠加层网址。密钥不会再次显示，遗失请更换。"],
});
const GRACES = ["0", "600", "3600", "86400"];

export class OverlayKey {
  // api(method, path, body) and act(button, work): the page's.
  constructor(stream, api, act) {
    Object.assign(this, { stream, api, act });
    this.principal = null;
    this.text = el("p", { class: "soft small" });
    this.secret = new SecretLink("overlay-url");
    this.make = el("button", { type: "button", "data-do": "newKey", onclick: () => this.create(this.make) }, t("newKey"));
    this.turn = el("button", { type: "button", class: "quiet", "data-do": "rotate", onclick: () => this.rotate(this.turn) }, t("rotate"));
    this.grace = el("select", { id: "grace" }, ...GRACES.map((s) => el("option", { value: s, selected: s === "600" }, t(s))));
    this.graceLabel = el("label", {}, t("grace"), this.grace);
    const compose = el("a", { href: "/composer", target: "_blank", rel: "noopener" }, t("compose"));
    this.node = el(
      "section",
      { class: "card" },
      el("h2", {}, t("title")),
      this.text,
      this.secret.node,
      el("p", {}, compose),
      this.graceLabel,
      el("div", { class: "buttons" }, this.make, this.turn),
    );
    this.paint();
    this.find();
  }

  get url() {
    return this.secret.url;
  }

  async find() {
    const query = `role=overlay&stream_id=${encodeURIComponent(this.stream.id)}&limit=100`;
    const { items } = await untilKnown(() => this.api("GET", `/principals?${query}`));
    this.principal = items.find((one) => one.role === "overlay" && !one.disabled_at) ?? null;
    this.paint();
  }

  paint() {
    this.make.hidden = Boolean(this.principal);
    this.turn.hidden = !this.principal;
    this.graceLabel.hidden = !this.principal;
    say(this.text, this.url ? t("once") : this.principal ? t("exists") : t("text"));
  }

  hold(key) {
    this.secret.hold(`${location.origin}/overlay/all#${encodeURIComponent(key)}`);
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
    const seconds = Number(this.grace.value);
    const text = seconds ? t("rotateLater", { for: t(this.grace.value) }) : t("rotateNow");
    if (!(await confirmed({ title: t("rotateTitle"), text, yes: t("rotateYes"), no: t("keep") }))) return;
    await this.act(button, async () => {
      const path = `/principals/${encodeURIComponent(this.principal.id)}/keys`;
      const made = await this.api("POST", path, { retire_old_after_s: seconds });
      this.hold(made.key);
    });
  }
}
