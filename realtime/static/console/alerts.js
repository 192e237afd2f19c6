// The alert that is on air and how many wait behind it, and an alert to try the screens with.

import { serverNow } from "../api.js";
import { el, say } from "../dom.js";
import { clock, count, named, translator } from "../i18n.js";
import { minorOf } from "../money.js";
import { sendOnce } from "./act.js";
import { alertText } from "./onair.js";
import { button, card, field, form, select } from "./panel.js";

const w = translator({
  title: ["Alerts", "提醒"],
  now: ["On air", "正在播出"],
  none: ["No alert is on air.", "暂无提醒播出。"],
  shown: ["on screen", "已上屏"],
  sent: ["no overlay has shown it yet", "尚无叠加层显示"],
  left: ["{time} left", "剩余 {time}"],
  waiting: ["Waiting behind it: {n}", "排队中：{n}"],
  muted: ["Muted: they wait until you unmute.", "已静音：提醒将等待恢复。"],
  panic: ["Panic: nothing is shown.", "紧急隐藏中：不显示提醒。"],
  group: ["Group", "分组"],
  all: ["All groups", "所有分组"],
  settings: ["How alerts are shown, and sounds (composer)", "提醒显示与声音设置（叠加层设计）"],
  test: ["Test alert", "测试提醒"],
  testAll: ["Test alert in all groups", "在所有分组测试提醒"],
  testText: ["It says TEST on screen and counts for nothing.", "屏幕上标有“测试”，不计入任何总额。"],
  more: ["Of my own making", "自定义"],
  kind: ["Kind", "类型"],
  order: ["An order", "订单"],
  gift: ["A gift", "捐赠"],
  burst: ["A burst of orders", "订单爆发"],
  name: ["Name", "姓名"],
  message: ["Message", "留言"],
  amount: ["Amount in {currency}", "金额（{currency}）"],
  sku: ["Product", "商品"],
  send: ["Send it", "发送"],
  gone: ["It is on its way to the screens.", "已发送到屏幕。"],
  bad: ["Type an amount such as 100 or 29.90.", "请输入金额，例如 100 或 29.90。"],
});

export class AlertsPanel {
  constructor(desk, groups) {
    this.desk = desk;
    this.what = el("p", { class: "airing", id: "airing" }, w("none"));
    this.how = el("p", { class: "soft small num" });
    this.queue = el("p", { class: "num", id: "queue", "aria-live": "polite" }, w("waiting", { n: "—" }));
    this.state = el("p", { class: "note bad", role: "status", hidden: true });
    this.test = button("test", w("test"), (node) => this.sendTest(node, { kind: "gift" }), { key: "t" });
    // With one group this is all there is to see; with more, each of them has a row instead.
    this.only = el("div", {}, this.what, this.how, this.queue);
    this.group = select(w("group"), []);
    // The settings of a group stand where its alerts can be tried and seen.
    const composer = { href: "/composer?widget=alerts", target: "_blank", rel: "noopener", id: "alert-settings" };
    this.settings = el("p", {}, el("a", composer, w("settings")));
    this.seeGroups(groups.names);
    this.node = card(
      w("title"),
      { id: "alerts" },
      this.only,
      groups.list,
      this.state,
      el("div", { class: "buttons" }, this.test),
      el("p", { class: "soft small" }, w("testText")),
      this.settings,
      this.ownTest(),
      groups.node,
    );
  }

  seeGroups(names) {
    const several = names.length > 1;
    this.only.hidden = this.settings.hidden = several;
    this.group.node.hidden = !several;
    say(this.test.firstChild, w(several ? "testAll" : "test"));
    const { value } = this.group.input;
    const option = (name, text) => el("option", { value: name, selected: name === value }, text);
    this.group.input.replaceChildren(option("", w("all")), ...names.map((name) => option(name, name)));
  }

  take(part, state) {
    if (part !== "alerts/main") return;
    this.alerts = state;
    say(this.what, state.on_air ? alertText(state.on_air, this.desk.front.offers) : w("none"));
    say(this.queue, w("waiting", { n: count(state.waiting) }));
    this.state.hidden = !state.muted && !state.panic;
    say(this.state, state.panic ? w("panic") : state.muted ? w("muted") : "");
    this.tick();
  }

  tick() {
    const airing = this.alerts?.on_air;
    const left = airing ? (Date.parse(airing.ends_at) - serverNow()) / 1000 : 0;
    say(this.how, airing ? `${w(airing.shown ? "shown" : "sent")} · ${w("left", { time: clock(left) })}` : "");
  }

  sendTest(node, body) {
    return this.desk.act(node, () => sendOnce(this.desk.api, this.desk.path("/alerts/test"), body), () => w("gone"));
  }

  ownTest() {
    const { currency, offers } = this.desk.front;
    const kind = select(w("kind"), ["order", "gift", "burst"].map((name) => [name, w(name)]));
    const name = field(w("name"), { maxlength: 40 });
    const message = field(w("message"), { maxlength: 200 });
    const amount = field(w("amount", { currency }), { inputmode: "decimal", maxlength: 16 });
    const sku = select(w("sku"), [["", "—"], ...offers.map((offer) => [offer.sku, named(offer)])]);
    const send = el("button", { type: "submit", class: "quiet", "data-do": "own-test" }, w("send"));
    const submit = () => {
      const minor = amount.input.value.trim() ? minorOf(amount.input.value, currency) : undefined;
      if (minor === null) {
        amount.input.focus();
        return this.desk.say(send, w("bad"), true);
      }
      const said = { name: name.input.value.trim(), message: message.input.value.trim(), sku: sku.input.value, group: this.group.input.value };
      const given = Object.fromEntries(Object.entries(said).filter(([, text]) => text));
      return this.sendTest(send, { kind: kind.input.value, ...given, ...(minor === undefined ? {} : { amount_minor: minor }) });
    };
    const node = form(submit, kind.node, name.node, message.node, amount.node, sku.node, this.group.node, send);
    return el("details", { class: "inner", id: "own-test" }, el("summary", {}, w("more")), node);
  }
}
