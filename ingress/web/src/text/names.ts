// Departments and campuses as people call them. The API knows ids; those that neither the hospital nor this file names are
// shown as they are.
import type { Hospital } from "../api/types";
import { cell } from "../cell";
import { language } from "./language";

/** What the hospital itself calls them: it wins over the names below. */
export const given = cell<Hospital["names"]>({});

const NAMES: Record<string, [string, string]> = {
  cardiology: ["Cardiology", "心内科"],
  neurology: ["Neurology", "神经内科"],
  orthopaedics: ["Orthopaedics", "骨科"],
  paediatrics: ["Paediatrics", "儿科"],
  obstetrics: ["Obstetrics", "产科"],
  gynaecology: ["Gynaecology", "妇科"],
  ophthalmology: ["Ophthalmology", "眼科"],
  dermatology: ["Dermatology", "皮肤科"],
  gastroenterology: ["Gastroenterology", "消化内科"],
  respiratory: ["Respiratory medicine", "呼吸内科"],
  endocrinology: ["Endocrinology", "内分泌科"],
  oncology: ["Oncology", "肿瘤科"],
  urology: ["Urology", "泌尿外科"],
  east: ["East campus", "东院区"],
  west: ["West campus", "西院区"],
  north: ["North campus", "北院区"],
  south: ["South campus", "南院区"],
  riverside: ["Riverside campus", "滨江院区"],
};

export function named(id: string): string {
  const own = Object.hasOwn(given.get(), id) ? given.get()[id] : undefined;
  if (own) return own[language.get()];
  const names = NAMES[id];
  return names ? names[language.get() === "zh" ? 1 : 0] : id;
}

/** A doctor's name: "李明 Li Ming" is both; the language's part comes first. */
export function doctor(name: string): string {
  const both = /^([\p{Script=Han}·]+)\s+(.+)$/u.exec(name);
  if (!both) return name;
  return language.get() === "zh" ? both[1]! : `${both[2]} ${both[1]}`;
}
