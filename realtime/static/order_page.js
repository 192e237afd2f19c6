// The page behind an order's secret link: /order#token. The token stays in the fragment, which no server ever sees,
// and in memory; it is stored nowhere.

import { el } from "./dom.js";
import { accessByToken } from "./orderaccess.js";
import { OrderPage } from "./orderpage.js";
import { w } from "./order_words.js";
import { emptyState, frame, show } from "./page.js";
import { t } from "./shop_words.js";

frame();
addEventListener("hashchange", () => location.reload());
const access = accessByToken(location.hash.slice(1));
if (access) new OrderPage(access).start();
else {
  document.title = w("wrongLink");
  show(emptyState(w("wrongLink"), w("wrongLinkText"), el("a", { class: "button", href: "/" }, t("home"))));
}
