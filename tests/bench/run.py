"""Measures everything, or the figures whose names begin with an argument, and prints one JSON line for each."""

from __future__ import annotations

import asyncio
import sys

import api_speed
import api_streams
import encode
import imports
import latency
import machines
import media
import node_runs
import overhead
import page
import panel
import panel_event
import panel_list
import streaming

BENCHES = {
    "encode_4k": encode,
    "overhead_1mp overhead_4k reupload_bytes": overhead,
    "event_latency": latency,
    "machine_overhead machine_progress machine_pool_64 machine_leak_200": machines,
    "nodes_batch_16 nodes_cancel": node_runs,
    "nodes_video nodes_audio": media,
    "nodes_list_500": page,
    "panel_bytes panel_leak_200": panel,
    "panel_open_5000 panel_scroll_5000": panel_list,
    "panel_event panel_event_worst": panel_event,
    "import_package import_nodes": imports,
    "stream_1gb_client_rss stream_1gb_server_rss": streaming,
    "api_read api_list api_queue api_growth": api_speed,
    "api_streams api_stream_memory": api_streams,
}


async def main(wanted: list[str]) -> None:
    """Print the figures. Whether they hold is in them: a busy computer is no failure of the program."""
    for names, bench in BENCHES.items():
        if wanted and not any(name.startswith(tuple(wanted)) for name in names.split()):
            continue
        async for figure in bench.figures():
            print(figure.line(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
