# SPDX-License-Identifier: Apache-2.0
"""Answers on the list `answers` what comes on the list `requests`, until it is ended: the worker at
the other end of a queue in Redis."""

import os

import redis

client = redis.Redis(unix_socket_path=os.environ["BENCH_REDIS_SOCKET"])
while True:
    item = client.blpop(["requests"], timeout=0)
    if item is not None:
        client.rpush("answers", item[1])
