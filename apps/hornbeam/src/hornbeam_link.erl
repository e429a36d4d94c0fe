%% SPDX-License-Identifier: Apache-2.0
%% @doc The connection to one Python process: its port, its ledger and the handshake.
%%
%% Runs in the worker process. A link lives as long as its operating-system process; everything that
%% knows about ports and ledgers is here, so that a worker on another machine is another kind of
%% link.
-module(hornbeam_link).

-export([open/1, handshake/2, send/2, open_exchanges/2, started/1, forbid/1, allow/1]).
-export([kill/1, close/1]).
-export([port/1, os_pid/1, about/1, hooks/1]).
-export_type([link/0, options/0]).

-include("hornbeam_wire.hrl").

-type options() :: #{
    %% Fields of BOOT; the ledger is added here.
    boot := #{binary() => term()},
    %% For hornbeam_port: what is started, or the descriptors of a client, which has no ledger.
    python => binary(),
    env => [{string(), string() | false}],
    descriptors => hornbeam_port:descriptors(),
    _ => _
}.

-record(link, {
    port :: port(),
    os_pid :: non_neg_integer() | undefined,
    %% none for a client, which takes no exchanges
    ledger :: hornbeam_ledger:ledger() | none,
    handshake :: hornbeam_handshake:state()
}).
-opaque link() :: #link{}.

%% @doc Start the process and greet it. Packets arrive as `{Port, {data, Binary}}', its end as
%% `{Port, {exit_status, Status}}'.
-spec open(options()) -> {ok, link()} | {error, term()}.
open(#{boot := Boot, descriptors := _} = Options) ->
    open(hornbeam_port:open(Options), none, Boot);
open(#{boot := Boot} = Options) ->
    case hornbeam_ledger:create() of
        {ok, Ledger, Path} ->
            open(hornbeam_port:open(Options), Ledger, Boot#{<<"ledger">> => Path});
        {error, _} = Error ->
            Error
    end.

open({ok, Port}, Ledger, Boot) ->
    {ok, Version} = application:get_key(hornbeam, vsn),
    Info = #{<<"version">> => list_to_binary(Version)},
    Handshake = hornbeam_handshake:new({?PROTOCOL_MIN, ?PROTOCOL_MAX}, Info, Boot),
    Link = #link{
        port = Port, os_pid = hornbeam_port:os_pid(Port), ledger = Ledger, handshake = Handshake
    },
    ok = send([hornbeam_handshake:hello(Handshake)], Link),
    {ok, Link};
open({error, _} = Error, none, _) ->
    Error;
open({error, _} = Error, Ledger, _) ->
    ok = hornbeam_ledger:close(Ledger),
    Error.

%% @doc Messages of a worker that has not been ready yet. `Rest': see `hornbeam_handshake'.
-spec handshake([hornbeam_wire:message()], link()) ->
    {more, Rest :: [hornbeam_wire:message()], link()}
    | {ready, Rest :: [hornbeam_wire:message()], link()}
    | {failed, hornbeam_handshake:failure()}.
handshake(Messages, #link{handshake = Handshake0, ledger = Ledger} = Link) ->
    case hornbeam_handshake:handle(Messages, Handshake0) of
        {more, Out, Rest, Handshake} ->
            ok = send(Out, Link),
            {more, Rest, Link#link{handshake = Handshake}};
        {ready, Out, Rest, Handshake} ->
            ok = send(Out, Link),
            _ = Ledger =:= none orelse hornbeam_ledger:mapped(Ledger),
            {ready, Rest, Link#link{handshake = Handshake}};
        {failed, Out, Reason} ->
            ok = send(Out, Link),
            {failed, Reason}
    end.

%% @doc Write messages in one packet. When the process has ended already they are lost with it; its
%% exit status is on its way.
-spec send([hornbeam_wire:message()], link()) -> ok.
send([], _) ->
    ok;
send(Messages, #link{port = Port}) ->
    _ = hornbeam_port:send(Port, hornbeam_wire:encode(Messages)),
    ok.

%% @doc The same for OPENs, whose fields are encoded already.
-spec open_exchanges(
    [{hornbeam_wire:exchange_id(), non_neg_integer(), hornbeam_wire:request()}, ...], link()
) -> ok.
open_exchanges(Opens, #link{port = Port}) ->
    _ = hornbeam_port:send(Port, hornbeam_wire:encode_opens(Opens)),
    ok.

%% @doc Exchanges up to this id have started; known even when the process is dead.
-spec started(link()) -> non_neg_integer().
started(#link{ledger = none}) -> 0;
started(#link{ledger = Ledger}) -> hornbeam_ledger:started(Ledger).

%% @doc The worker must start nothing more of what it has; the highest id that it may have started.
%% First it is forbidden, then the mark is read: what it marked in between stays its own.
-spec forbid(link()) -> non_neg_integer().
forbid(#link{ledger = none}) ->
    0;
forbid(#link{ledger = Ledger}) ->
    ok = hornbeam_ledger:revoke(hornbeam_ledger:started(Ledger) + 1, Ledger),
    hornbeam_ledger:started(Ledger).

%% @doc The worker may start again what it gets.
-spec allow(link()) -> ok.
allow(#link{ledger = none}) -> ok;
allow(#link{ledger = Ledger}) -> hornbeam_ledger:allow(Ledger).

%% @doc Kill the process of a port that has closed itself.
-spec kill(link()) -> ok.
kill(#link{os_pid = OsPid}) ->
    hornbeam_port:kill(OsPid).

%% @doc Kill the process if it still runs, and forget it. The highest id of an exchange that it
%% started.
-spec close(link()) -> non_neg_integer().
close(#link{port = Port, os_pid = OsPid, ledger = Ledger} = Link) ->
    _ = erlang:port_info(Port, id) =/= undefined andalso hornbeam_port:kill(OsPid),
    ok = hornbeam_port:close(Port),
    Started = started(Link),
    _ = Ledger =:= none orelse hornbeam_ledger:close(Ledger),
    Started.

-spec port(link()) -> port().
port(#link{port = Port}) -> Port.

-spec os_pid(link()) -> non_neg_integer() | undefined.
os_pid(#link{os_pid = OsPid}) -> OsPid.

-spec about(link()) -> map().
about(#link{handshake = Handshake}) -> hornbeam_handshake:about(Handshake).

-spec hooks(link()) -> [binary()].
hooks(#link{handshake = Handshake}) -> hornbeam_handshake:hooks(Handshake).
