"""The look of every report, and the small script that sorts its tables."""

from __future__ import annotations

__all__ = ["ABLATION_STYLE", "SCRIPT", "STYLE"]

_LIGHT = (
    "--paper:#ffffff;--card:#f8fafc;--line:#cbd5e1;--ink:#0f172a;--muted:#526077;--bar:#94a3b8;"
    "--critical:#b91c1c;--warning:#b45309;--note:#1d4ed8;--good:#15803d;"
)
_DARK = (
    "--paper:#0f141c;--card:#171e29;--line:#334155;--ink:#e2e8f0;--muted:#9aa8bd;--bar:#64748b;"
    "--critical:#f87171;--warning:#fbbf24;--note:#7dadff;--good:#4ade80;"
)

STYLE = (
    """
:root{"""
    + _LIGHT
    + """}
@media (prefers-color-scheme:dark){:root{"""
    + _DARK
    + """}}
@media print{:root{"""
    + _LIGHT
    + """}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);overflow-wrap:break-word;
 font:16px/1.5 Inter,"Segoe UI","Helvetica Neue","DejaVu Sans",Arial,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1rem}
h1{font-size:1rem;font-weight:600;margin:0;color:var(--muted)}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem}
h3{font-size:1rem;margin:0 0 .25rem}
p{margin:.25rem 0 .75rem;max-width:46rem}
header{border-left:.4rem solid var(--tone);padding:.5rem 1rem;margin:.5rem 0}
.verdict{font-size:1.6rem;line-height:1.25;font-weight:700;margin:.1rem 0;color:var(--tone)}
.critical{--tone:var(--critical)}.warning{--tone:var(--warning)}
.note{--tone:var(--note)}.good{--tone:var(--good)}.label{--tone:var(--bar)}.plain{--tone:var(--bar)}
.name{overflow-wrap:anywhere}
.muted,caption{color:var(--muted)}
.card{background:var(--card);border:1px solid var(--line);border-left:.3rem solid var(--tone);
 border-radius:.4rem;padding:.75rem 1rem;margin:0 0 .75rem}
.tag{display:inline-block;border:1px solid var(--tone);color:var(--tone);border-radius:1rem;
 padding:0 .6rem;margin-right:.4rem;font-size:.8rem;font-weight:600}
.chips{display:flex;flex-wrap:wrap;gap:.3rem;margin:.35rem 0;padding:0;list-style:none}
.chips li{background:var(--paper);border:1px solid var(--line);border-radius:.3rem;padding:0 .4rem;
 font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.9rem}
dl{display:grid;grid-template-columns:minmax(6rem,auto) 1fr;gap:.1rem 1rem;margin:.25rem 0}
dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--muted)}
.plot{display:grid;grid-template-columns:minmax(8rem,17rem) 1fr auto;gap:.1rem .9rem;
 align-items:center;margin:.5rem 0}
.row{display:contents}
.row .name{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;overflow:hidden;
 font-size:.9rem;line-height:1.2}
.row .value{font-variant-numeric:tabular-nums;text-align:right;font-size:.9rem}
svg{display:block;width:100%;overflow:visible}
.plot text{font-size:11px;fill:var(--muted)}
.track{stroke:var(--line)}.limit{stroke-dasharray:3 3;stroke:var(--limit)}
.limit.critical{--limit:var(--critical)}.limit.warning{--limit:var(--warning)}
.limit.now{--limit:var(--ink);stroke-dasharray:none}
.reach{fill:var(--tone);opacity:.3}.mark{fill:var(--tone)}.stem{stroke:var(--tone);stroke-width:2}
.unknown{fill:var(--tone);opacity:.18}
.pad{padding:0 .5rem}
.scroll{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem}
caption{text-align:left;padding:.25rem 0}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;
 border-bottom:1px solid var(--line)}
td:first-child{min-width:9rem}
td.number{font-variant-numeric:tabular-nums}
th button{all:unset;cursor:pointer;color:var(--muted);font-weight:600}
th button:focus-visible,summary:focus-visible{outline:2px solid var(--note)}
th[aria-sort=ascending] button::after{content:" ↑"}
th[aria-sort=descending] button::after{content:" ↓"}
@media (max-width:40rem){
 .verdict{font-size:1.3rem}
 .plot{grid-template-columns:1fr auto}
 .row .name{grid-column:1/-1;margin-top:.4rem}
 table,caption,tbody,tr,td{display:block;width:100%}
 thead{position:absolute;left:-999rem}
 tr{border-bottom:1px solid var(--line);padding:.4rem 0}
 td{border:0;padding:0;display:flex;gap:.75rem;justify-content:space-between}
 td::before{content:attr(data-head);color:var(--muted);flex:none}
 td>*{text-align:right;min-width:0}
}
@media print{
 body{font-size:10pt}main{max-width:none;padding:0}
 .card,.row,tr{break-inside:avoid}h2,h3{break-after:avoid}
 .scroll{overflow:visible}thead{display:table-header-group}
 *{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""
)

SCRIPT = """
"use strict";
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
for (const table of document.querySelectorAll("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, at) => {
    const said = row.cells[at].dataset.by;
    if (said === undefined) return undefined;
    return row.cells[at].className === "number" ? Number(said) : said;
  };
  for (const head of heads) head.firstChild.title = "sort by this column";
  heads.forEach((head, at) => head.firstChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map(row => [value(row, at), row]);
    rows.sort(([a], [b]) => {
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      const order = typeof a === "number" && typeof b === "number"
        ? a - b : String(a).localeCompare(String(b));
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  }));
}
"""

ABLATION_STYLE = """
:root{--band:#e8edf4;--grid:#e8edf4}
@media (prefers-color-scheme:dark){:root{--band:#222c3b;--grid:#222c3b}}
@media print{:root{--band:#e8edf4;--grid:#e8edf4}}
.matters{--tone:var(--note)}.negligible{--tone:var(--muted)}.undecided{--tone:var(--warning)}
.harmful{--tone:var(--critical)}
.tag{white-space:nowrap}
td .tag{font-size:.85em}
.strip{border-radius:.3rem;overflow:hidden;margin:.75rem 0 .35rem}
.strip rect{fill:var(--tone)}
.key{display:flex;flex-wrap:wrap;gap:.1rem 1.25rem;margin:0 0 .5rem;padding:0;list-style:none}
.key li:not(:has(svg))::before{content:"";display:inline-block;width:.7rem;height:.7rem;
 border-radius:.2rem; background:var(--tone)}
.chart{margin:.75rem 0;overflow-x:auto}
.chart .drawn{width:100%}
.chart.wide .drawn{min-width:34rem}
.chart svg{width:auto;max-width:100%;height:auto}
.tip{position:fixed;z-index:1;max-width:min(24rem,calc(100vw - 16px));padding:.4rem .6rem;
 background:var(--paper);border:1px solid var(--line);border-radius:.3rem;font-size:.85rem;
 white-space:pre-line;overflow-wrap:anywhere;pointer-events:none;
 box-shadow:0 .2rem .8rem rgb(0 0 0/.2)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,26rem),1fr));gap:.75rem;
 align-items:start}
.cards .card{margin:0}
.cards+p,.cards+details{margin-top:1rem}
.card .kind{font-size:.85rem;margin:0 0 .35rem}
.beside{margin:0;font-size:.85rem;color:var(--muted)}
.family{margin:1rem 0}
.family>summary h3{display:inline;color:var(--ink)}
.group{margin:0;border-top:1px solid var(--line)}
.group>summary{list-style:none;color:var(--ink);padding:.3rem 0}
.group>summary::-webkit-details-marker{display:none}
.group>summary .called::before{content:"▸";color:var(--muted);margin-right:.4rem}
.group[open]>summary .called::before{content:"▾"}
.group>.worth,.group>p{font-size:.9rem}
.group>.worth .called,.group>p{padding-left:1.1rem}
.worth{display:grid;grid-template-columns:minmax(0,17rem) 1fr 5.5rem 7rem;gap:.1rem .9rem;
 align-items:center;padding:.1rem 0}
.worth .value{font-variant-numeric:tabular-nums;text-align:right}
.worth .tag{justify-self:start}
.tag.plain{--tone:var(--muted)}
.key li{display:flex;align-items:center;gap:.35rem}
.key svg{width:14px}
.band{fill:var(--band)}
pre{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.4rem;
 padding:.75rem 1rem;font-size:.85rem;line-height:1.45}
.added{color:var(--good)}.gone{color:var(--critical)}
td{font-variant-numeric:tabular-nums}
.value,.fixed,td.number{white-space:nowrap}
#features td:first-child,#features th:first-child{position:sticky;left:0;background:var(--paper);
 min-width:10rem;max-width:18rem}
#features th{white-space:nowrap}
.difference{display:grid;grid-template-columns:1fr;max-width:30rem;margin:.1rem 0 .3rem}
.difference text{font-size:11px;fill:var(--muted)}
.card>p:last-child{margin-bottom:0}
.evidence{grid-template-columns:1fr auto}
#method td:last-child{min-width:9rem}
@media (min-width:40rem){
 td:first-child{min-width:10.5rem}
 #method td:first-child{min-width:5rem}
 .evidence dd{white-space:nowrap}}
@media (max-width:40rem){
 dl,.card>p:last-child{margin-bottom:0}
.evidence{grid-template-columns:1fr}dd{margin-bottom:.35rem}
 .worth{grid-template-columns:1fr 5rem 6.5rem}
 .worth .called{grid-column:1/-1}
 #features td:first-child{position:static;max-width:none;font-weight:600}
}
@page numbers{size:landscape}
@media print{
 .chart{break-inside:avoid}.chart.wide .drawn{min-width:0}.tip{display:none}
 #features table,#method table{font-size:7pt}
 #features th,.fixed,td.number{white-space:normal}
 #features td:first-child,#features th:first-child{position:static;min-width:5rem}
 #method td:first-child,#method td:last-child{min-width:5rem}
 #features td,#method td,#method th{padding-right:.3rem}
 pre{white-space:pre-wrap}
 #features{page:numbers}
}
"""
"""What the ablation report needs besides."""
