%% SPDX-License-Identifier: Apache-2.0
%% @doc The node's side of a worker's ledger: which requests it has started, known even after
%% `kill -9'.
%%
%% Runs in the worker process. The file has two u64, little endian (PROTOCOL.md, section 7): the
%% first is written by the worker through a memory map, the second by the node. Both ends unlink
%% nothing they do not own: the node removes the file as soon as the worker has mapped it.
-module(hornbeam_ledger).

-export([create/0, mapped/1, started/1, revoke/2, allow/1, close/1]).
-export_type([ledger/0]).

-record(ledger, {path :: file:filename(), file :: file:fd()}).
-opaque ledger() :: #ledger{}.

%% @doc A new ledger and the path under which the worker finds it.
-spec create() -> {ok, ledger(), Path :: binary()} | {error, {ledger, file:filename(),
    file:posix()}}.
create() ->
    Name = io_lib:format("hornbeam-~s-~b", [os:getpid(), erlang:unique_integer([positive])]),
    Path = filename:join(directory(), Name),
    case file:open(Path, [read, write, exclusive, raw, binary]) of
        {ok, File} ->
            ok = file:change_mode(Path, 8#600),
            ok = file:write(File, <<0:128>>),
            {ok, #ledger{path = Path, file = File}, unicode:characters_to_binary(Path)};
        {error, Reason} ->
            {error, {ledger, Path, Reason}}
    end.

%% Memory where there is such a file system; the map costs no disk writes there.
directory() ->
    case file:read_file_info("/dev/shm") of
        {ok, _} -> "/dev/shm";
        {error, _} -> os:getenv("TMPDIR", "/tmp")
    end.

%% @doc The worker has mapped the file: nothing is left behind, however the two processes end.
-spec mapped(ledger()) -> ok.
mapped(#ledger{path = Path}) ->
    _ = file:delete(Path),
    ok.

%% @doc Exchanges up to this id have started.
-spec started(ledger()) -> non_neg_integer().
started(#ledger{file = File}) ->
    {ok, <<Mark:64/little>>} = file:pread(File, 0, 8),
    Mark.

%% @doc The worker must not start this exchange, nor any above it.
-spec revoke(From :: pos_integer(), ledger()) -> ok.
revoke(From, #ledger{file = File}) ->
    ok = file:pwrite(File, 8, <<From:64/little>>).

%% @doc The worker may start everything it gets.
-spec allow(ledger()) -> ok.
allow(#ledger{file = File}) ->
    ok = file:pwrite(File, 8, <<0:64>>).

-spec close(ledger()) -> ok.
close(#ledger{file = File} = Ledger) ->
    mapped(Ledger),
    ok = file:close(File).
