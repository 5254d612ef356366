import { render } from "preact";
import { takeFromAddress } from "./api/identity";
import { follow as followTime } from "./api/time";
import { follow as followHospital } from "./hospital";
import { language } from "./text/language";
import "./app.css";

takeFromAddress();
followTime();
followHospital();

const named = (): void => {
  document.documentElement.lang = language.get() === "zh" ? "zh-CN" : "en";
};
named();
language.listen(named);

const rooms = {
  "/ops": () => import("./ops/room"),
  "/reports": () => import("./reports/room"),
  "/": () => import("./patients/room"),
};

const path = location.pathname.replace(/\/$/, "") || "/";
const room = await (rooms[path as keyof typeof rooms] ?? rooms["/"])();
const app = document.getElementById("app")!;
app.replaceChildren();
render(<room.Room />, app);
