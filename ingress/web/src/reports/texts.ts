// Reports and their columns, as people read them.
import { t } from "../text/language";

export interface Group { name: () => string; reports: string[] }

export const GROUPS: Group[] = [
  { name: () => t("Overview", "概览"), reports: ["summary", "funnel"] },
  { name: () => t("Demand and capacity", "需求与号源"), reports: ["departments", "doctors", "campuses", "days", "sessions"] },
  { name: () => t("Time", "时间"), reports: ["minutes", "hours"] },
  { name: () => t("Waits and fairness", "等待与公平"), reports: ["waits", "wait_lengths", "fairness"] },
  { name: () => t("Outcomes", "结果"), reports: ["rejections", "cancellations", "rebookings"] },
];

const NAMES: Record<string, () => [string, string]> = {
  summary: () => [t("Summary", "汇总"), t("What was asked for and what came of it, with the waits.", "请求总量、结果与等待时间。")],
  funnel: () => [t("From offered to kept", "漏斗：从放号到预约"), t("From the numbers that were offered, through the requests, to the bookings that were kept.", "从放出的号源、收到的请求，到最终保留的预约。")],
  departments: () => [t("By department", "按科室"), t("Demand, bookings and refusals, and how much of the capacity was booked.", "各科室的需求、预约、拒绝与号源使用率。")],
  doctors: () => [t("By doctor", "按医生"), t("The most wanted first.", "按需求从高到低。")],
  campuses: () => [t("By campus", "按院区"), t("Demand, bookings and refusals of each campus.", "各院区的需求、预约与拒绝。")],
  days: () => [t("By day of the session", "按出诊日"), t("Demand against capacity, by the day of the session.", "按出诊日比较需求与号源。")],
  sessions: () => [t("Sessions and their sell-out", "号源与售罄时间"), t("Demand against capacity of each session, and how long after its release it was sold out.", "每个号源的供需比，以及放号后多久约满。")],
  minutes: () => [t("Minute by minute", "逐分钟"), t("Arrivals and what came of them.", "每分钟到达请求及结果。")],
  hours: () => [t("Hours of the day", "时段热力图"), t("When people ask, in the hospital's time.", "按医院当地时间统计的请求时段。")],
  waits: () => [t("Waits by department", "各科室等待"), t("How long decisions took, from the log to the outcome.", "从受理到结果的耗时。")],
  wait_lengths: () => [t("Who waited how long", "等待时长分布"), t("How many bookings waited how long for their outcome.", "各等待时长区间的请求数。")],
  fairness: () => [t("Fairness", "公平性"), t("Whether anybody was decided out of order, or overtaken. Both must be zero.", "是否有人被插队或未按顺序处理，均应为零。")],
  rejections: () => [t("Rejections by cause", "拒绝原因"), t("Why bookings were refused.", "预约未成功的原因。")],
  rebookings: () => [t("Numbers from hand to hand", "号源转手"), t("Numbers that one patient gave back and another had within ten seconds, by the two of them. Patients are pseudonyms.", "一名患者退号后十秒内被另一名患者约走的号，按两人统计，患者均为化名。")],
  cancellations: () => [t("Cancellations and refills", "退号与再约"), t("Numbers given back, and how many were booked again.", "退号数量及其再次被约的数量。")],
};

export function reportName(name: string): [string, string] {
  return NAMES[name]?.() ?? [name, ""];
}

const COLUMNS: Record<string, () => string> = {
  department: () => t("Department", "科室"), doctor_id: () => t("Doctor id", "医生编号"), doctor_name: () => t("Doctor", "医生"), campus: () => t("Campus", "院区"),
  day: () => t("Day", "日期"), session_id: () => t("Session", "号源"), minute: () => t("Minute", "分钟"), hour: () => t("Hour", "小时"), reason: () => t("Cause", "原因"),
  sessions: () => t("Sessions", "号源数"), demand: () => t("Demand", "需求"), booked: () => t("Booked", "已约"), rejected: () => t("Rejected", "拒绝"), sold_out: () => t("Sold out", "约满拒绝"),
  cancelled: () => t("Cancelled", "取消"), capacity: () => t("Capacity", "号源总数"), fill_rate: () => t("Fill rate", "号源使用率"), arrivals: () => t("Arrivals", "到达"), repeated: () => t("Repeats", "重复"),
  wait_p50_ms: () => t("Wait p50", "等待 p50"), wait_p95_ms: () => t("Wait p95", "等待 p95"), wait_p99_ms: () => t("Wait p99", "等待 p99"), wait_max_ms: () => t("Longest wait", "最长等待"),
  share: () => t("Share", "占比"), decided: () => t("Decided", "已处理"), demand_per_number: () => t("Demand per number", "每号请求数"), sold_out_after_ms: () => t("Sold out after", "售罄用时"),
  cancel_rate: () => t("Cancel rate", "退号率"), booked_again: () => t("Booked again", "再次约出"), refused: () => t("Refused", "被拒"), sessions_closed: () => t("Sessions closed", "停诊"),
  gave: () => t("Gave back", "退号患者"), took: () => t("Took", "接手患者"), times: () => t("Times", "次数"), doctors: () => t("Doctors", "涉及医生"), doctor_times: () => t("With that doctor", "该医生次数"), gap_min_ms: () => t("Shortest gap", "最短间隔"),
  at_most_ms: () => t("Waited at most", "等待不超过"), step: () => t("Step", "阶段"), count: () => t("Count", "数量"), out_of_order: () => t("Out of order", "乱序"), overtaken: () => t("Overtaken", "被插队"),
};

export function columnName(column: string): string {
  return COLUMNS[column]?.() ?? column;
}

const STEPS: Record<string, () => string> = {
  offered: () => t("Numbers offered", "放出号源"), requested: () => t("Requests", "收到请求"), valid: () => t("for a session that exists", "号源有效"), in_time: () => t("while it could be booked", "在可约时间内"),
  eligible: () => t("by somebody without another one", "符合一人一号"), booked: () => t("Booked", "预约成功"), kept: () => t("Kept", "最终保留"),
};

export function stepName(step: string): string {
  return STEPS[step]?.() ?? step;
}
