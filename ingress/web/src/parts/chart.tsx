// A live series (uPlot, loaded when one is drawn).
import { useEffect, useRef } from "preact/hooks";
import type uPlot from "uplot";
import { language, locale } from "../text/language";
import { useCell } from "../cell";

/** Steps of a time axis whose values are of whole minutes, in seconds. */
const MINUTES = [1, 2, 5, 10, 30, 60, 120, 240, 720, 1440, 2880, 10_080].map((minutes) => minutes * 60);

export interface Series { label: string; colour: 1 | 2 | 3 | 4 | 5; values: (number | null)[]; dash?: boolean }

export function Chart({ title, times, series, unit, zone, least, minutes }: {
  title: string;
  /** Seconds since the epoch. */
  times: number[];
  series: Series[];
  unit: (value: number) => string;
  zone: string;
  /** The axis reaches at least up to this. */
  least?: number;
  /** The values are of whole minutes: no tick lies between them. */
  minutes?: boolean;
}): preact.JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef({ times, series });
  latest.current = { times, series };
  const lang = useCell(language);
  useEffect(() => {
    let gone = false;
    let tidy = (): void => undefined;
    void Promise.all([import("uplot"), import("uplot/dist/uPlot.min.css")]).then(([{ default: Plot }]) => {
      const parent = box.current;
      if (gone || !parent) return;
      // What is counted has no halves: a tick between two numbers would read as one of them.
      const draw = (): void => {
        plot.current?.destroy();
        const style = getComputedStyle(document.documentElement);
        const colour = (name: string): string => style.getPropertyValue(name).trim();
        const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
        plot.current = new Plot({
          width: parent.clientWidth, height: 208,
          tzDate: (seconds) => Plot.tzDate(new Date(seconds * 1000), zone),
          legend: { live: false },
          padding: [8, 32, 0, 0],
          cursor: { y: false },
          scales: { y: { range: (_, __, max): [number, number] => [0, Math.max(least ?? 1, max * 1.1)] } },
          axes: [{ ...axis, space: 76, ...(minutes ? { incrs: MINUTES } : {}), values: (_, splits, __, ___, step) => splits.map((split) => tick(split, step, splits, zone)) }, { ...axis, size: 64, values: (_, splits) => splits.map((value) => (value === null || (!Number.isInteger(value) && unit(value) === unit(Math.round(value))) ? "" : unit(value))) }],
          series: [{}, ...latest.current.series.map((one) => ({
            label: one.label, stroke: colour(`--series-${one.colour}`), width: 2, points: { show: false }, spanGaps: false, ...(one.dash ? { dash: [6, 4] } : {}),
          }))],
        }, [latest.current.times, ...latest.current.series.map((one) => one.values)] as uPlot.AlignedData, parent);
      };
      draw();
      const size = new ResizeObserver(() => plot.current?.setSize({ width: parent.clientWidth, height: 208 }));
      size.observe(parent);
      const dark = matchMedia("(prefers-color-scheme: dark)");
      dark.addEventListener("change", draw);
      tidy = () => {
        size.disconnect();
        dark.removeEventListener("change", draw);
      };
    });
    return () => {
      gone = true;
      tidy();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [lang, zone, series.length]);
  useEffect(() => {
    plot.current?.setData([times, ...series.map((one) => one.values)] as uPlot.AlignedData);
  }, [times, series]);
  const said = series.map((one) => {
    const last = one.values[one.values.length - 1];
    return `${one.label} ${last === null || last === undefined ? "–" : unit(last)}`;
  });
  return (
    <figure class="card stack tight" style={{ margin: 0 }}>
      <figcaption><h2 class="h3">{title}</h2></figcaption>
      <div class="chart" ref={box} role="img" aria-label={`${title}: ${said.join(", ")}`} />
    </figure>
  );
}

/** A tick of the time axis: the day where the ticks span several, seconds only where they lie that close. */
function tick(at: number, step: number, all: number[], zone: string): string {
  const days = (all[all.length - 1] ?? at) - (all[0] ?? at) >= 86_400;
  return new Intl.DateTimeFormat(locale(), {
    timeZone: zone, hourCycle: "h23",
    ...(days ? { month: "numeric", day: "numeric" } : {}),
    ...(step < 86_400 ? { hour: "2-digit", minute: "2-digit" } : {}),
    ...(step < 60 ? { second: "2-digit" } : {}),
  } as Intl.DateTimeFormatOptions).format(at * 1000);
}
