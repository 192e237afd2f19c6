// Who else decides what may be shown: invite a moderator by a link with a key, or take it back at once.

import { untilKnown } from "../api.js";
import { confirmed } from "../dialog.js";
import { el } from "../dom.js";
import { timeAndDay, translator } from "../i18n.js";
import { SecretLink } from "../secretlink.js";
import { button, card, field, form } from "./panel.js";

const w = translator({
  title: ["Moderators", "审核员"],
  text: ["Each gets a link of their own. It opens the review of this stream and nothing else.", "每人一个专属链接，仅可审核本场直播。"],
  none: ["Nobody is invited yet.", "尚未邀请审核员。"],
  name: ["Name", "称呼"],
  bad: ["Give a name, so that you know whose link it is.", "请填写称呼，以便区分链接。"],
  invite: ["Invite", "邀请"],
  once: ["The link of {name} is known only now: copy it before you leave this page.", "{name} 的链接仅此时可见：离开页面前请复制。"],
  since: ["since {at}", "{at} 起"],
  revoke: ["Revoke…", "撤销…"],
  sureTitle: ["Revoke the link of {name}?", "确定撤销 {name} 的链接？"],
  sureText: ["It stops working at once, for good.", "将立即永久失效。"],
  sureYes: ["Revoke it", "确定撤销"],
  keep: ["Keep it", "保留"],
  revoked: ["Revoked.", "已撤销。"],
});

export class ModeratorsPanel {
  constructor(desk) {
    this.desk = desk;
    this.list = el("ul", { class: "plain", id: "moderators" });
    this.secret = new SecretLink("moderate-url");
    this.whose = el("p", { class: "note", hidden: true });
    this.name = field(w("name"), { maxlength: 80 });
    this.invite = el("button", { type: "submit", "data-do": "invite" }, w("invite"));
    const asks = form(() => this.create(), this.name.node, this.invite);
    this.node = card(w("title"), {}, el("p", { class: "soft small" }, w("text")), this.list, asks, this.whose, this.secret.node);
    this.look();
  }

  async look() {
    const query = `role=moderator&stream_id=${encodeURIComponent(this.desk.stream.id)}&limit=100`;
    const { items } = await untilKnown(() => this.desk.api("GET", `/principals?${query}`));
    const active = items.filter((one) => one.role === "moderator" && !one.disabled_at);
    const none = el("li", { class: "soft" }, w("none"));
    this.list.replaceChildren(...(active.length ? active.map((one) => this.row(one)) : [none]));
  }

  row(one) {
    const since = one.created_at ? el("span", { class: "soft small" }, w("since", { at: timeAndDay(one.created_at) })) : "";
    const revoke = button(`revoke-${one.id}`, w("revoke"), (node) => this.revoke(node, one));
    return el("li", { class: "spread" }, el("span", {}, el("bdi", {}, one.name), " ", since), revoke);
  }

  async create() {
    const name = this.name.input.value.trim();
    if (!name) {
      this.name.input.focus();
      return this.desk.say(this.invite, w("bad"), true);
    }
    const body = { role: "moderator", name, stream_id: this.desk.stream.id };
    const made = await this.desk.act(this.invite, () => this.desk.api("POST", "/principals", body), () => null);
    if (!made) return null;
    this.name.input.value = "";
    this.secret.hold(`${location.origin}/moderate#${encodeURIComponent(made.key)}`);
    this.whose.textContent = w("once", { name });
    this.whose.hidden = false;
    return this.look();
  }

  async revoke(node, one) {
    const words = { title: w("sureTitle", { name: one.name }), text: w("sureText"), yes: w("sureYes"), no: w("keep") };
    if (!(await confirmed(words))) return;
    const path = `/principals/${encodeURIComponent(one.id)}`;
    if (await this.desk.act(node, () => this.desk.api("DELETE", path), () => w("revoked"))) await this.look();
  }
}
