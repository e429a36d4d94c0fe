%% SPDX-License-Identifier: Apache-2.0
%% @doc The connection to one Python process: its port and its ledger, or its process on another
%% machine; and the handshake.
%%
%% Runs in the worker process. A link lives as long as its operating-system process, or as long as
%% the session of one that has attached itself (`hornbeam_attach'); everything that knows about
%% ports, ledgers and the distribution is here and below.
-module(hornbeam_link).

-export([open/1, handshake/2, send/2, open_exchanges/2, started/1, forbid/1, allow/1]).
-export([kill/1, close/1, lost/2, is_given_up/2, ended/2]).
-export([port/1, who/1, about/1, hooks/1, labels/1]).
-export_type([link/0, options/0]).

-include("hornbeam_wire.hrl").

-type options() :: #{
    %% Fields of BOOT; the ledger is added here.
    boot := #{binary() => term()},
    %% For hornbeam_port: what is started, or the descriptors of a client, which has no ledger.
    python => binary(),
    env => [{string(), string() | false}],
    descriptors => hornbeam_port:descriptors(),
    %% Instead of it: who has attached itself.
    session => hornbeam_session:session(),
    _ => _
}.

-record(link, {
    %% or the process on another machine, which speaks as ports do
    port :: port() | pid(),
    %% of a process of this machine
    os_pid :: non_neg_integer() | undefined,
    %% none for what runs on another machine, or takes no exchanges
    ledger :: hornbeam_ledger:ledger() | none,
    session = none :: hornbeam_session:state() | none,
    %% whether all that it has said before its end has arrived
    complete = false :: boolean(),
    handshake :: hornbeam_handshake:state()
}).
-opaque link() :: #link{}.

%% More than the id of any exchange.
-define(EVERYTHING, 16#FFFFFFFFFFFFFFFF).

%% @doc Start the process, or take the one that has attached itself, and greet it. Packets arrive as
%% `{Port, {data, Binary}}', its end as `{Port, {exit_status, Status}}'; that of a session also as
%% 'DOWN', see lost/2.
-spec open(options()) -> {ok, link()} | {error, term()}.
open(#{boot := Boot, session := Session}) ->
    State = hornbeam_session:open(Session),
    greet(#link{
        port = hornbeam_session:pid(State),
        ledger = none,
        session = State,
        handshake = new_handshake(maps:merge(Boot, hornbeam_session:boot(State)))
    });
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
    greet(#link{
        port = Port,
        os_pid = hornbeam_port:os_pid(Port),
        ledger = Ledger,
        handshake = new_handshake(Boot)
    });
open({error, _} = Error, none, _) ->
    Error;
open({error, _} = Error, Ledger, _) ->
    ok = hornbeam_ledger:close(Ledger),
    Error.

new_handshake(Boot) ->
    {ok, Version} = application:get_key(hornbeam, vsn),
    Info = #{<<"version">> => list_to_binary(Version)},
    hornbeam_handshake:new({?PROTOCOL_MIN, ?PROTOCOL_MAX}, Info, Boot).

greet(#link{handshake = Handshake} = Link) ->
    ok = send([hornbeam_handshake:hello(Handshake)], Link),
    {ok, Link}.

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

%% @doc Write messages in one packet. When the process has ended already they are lost with it; the
%% news of its end is on its way.
-spec send([hornbeam_wire:message()], link()) -> ok.
send([], _) ->
    ok;
send(Messages, Link) ->
    transmit(hornbeam_wire:encode(Messages), Link).

%% @doc The same for OPENs, whose fields are encoded already.
-spec open_exchanges(
    [{hornbeam_wire:exchange_id(), non_neg_integer(), hornbeam_wire:request()}, ...], link()
) -> ok.
open_exchanges(Opens, Link) ->
    transmit(hornbeam_wire:encode_opens(Opens), Link).

transmit(Packet, #link{port = Port}) when is_port(Port) ->
    _ = hornbeam_port:send(Port, Packet),
    ok;
transmit(Packet, #link{session = Session}) ->
    hornbeam_session:send(iolist_to_binary(Packet), Session).

%% @doc Exchanges up to this id have started; known even when the process is dead. Without a ledger
%% the worker's own messages tell (STARTED).
-spec started(link()) -> non_neg_integer().
started(#link{ledger = none}) -> 0;
started(#link{ledger = Ledger}) -> hornbeam_ledger:started(Ledger).

%% @doc The worker must start nothing more of what it has; the highest id that it may have started.
%% First it is forbidden, then the mark is read: what it marked in between stays its own. What
%% cannot be forbidden may start at any time.
-spec forbid(link()) -> non_neg_integer().
forbid(#link{ledger = none}) ->
    ?EVERYTHING;
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

%% @doc The status with which a process has ended whose monitor says Reason. `closed': it was there
%% to the end, and all it has said has arrived. `silent': given up, and nobody knows what it has
%% started meanwhile.
-spec lost(Reason :: term(), link()) -> closed | silent.
lost(Reason, #link{session = Session}) ->
    hornbeam_session:lost(Reason, Session).

%% @doc Whether one that was silent for so many milliseconds is as good as gone: the pipe of a local
%% one tells of its end, a distributed one may have none.
-spec is_given_up(non_neg_integer(), link()) -> boolean().
is_given_up(_, #link{session = none}) -> false;
is_given_up(Silent, #link{session = Session}) -> hornbeam_session:is_given_up(Silent, Session).

%% @doc The process has said, or it is known, how it ended.
-spec ended(Status :: term(), link()) -> link().
ended(Status, Link) -> Link#link{complete = Status =/= silent}.

%% @doc Kill the process if it still runs, or tell it that nobody listens any more, and forget it.
%% The highest id of an exchange that it may have started.
-spec close(link()) -> non_neg_integer().
close(#link{session = Session, complete = Complete}) when Session =/= none ->
    ok = hornbeam_session:close(Session),
    case Complete of
        true -> 0;
        false -> ?EVERYTHING
    end;
close(#link{port = Port, os_pid = OsPid, ledger = Ledger} = Link) ->
    _ = erlang:port_info(Port, id) =/= undefined andalso hornbeam_port:kill(OsPid),
    ok = hornbeam_port:close(Port),
    Started = started(Link),
    _ = Ledger =:= none orelse hornbeam_ledger:close(Ledger),
    Started.

%% @doc From whom its packets come.
-spec port(link()) -> port() | pid().
port(#link{port = Port}) -> Port.

%% @doc Which process it is, for logs and `hornbeam:info/0'.
-spec who(link()) -> map().
who(#link{session = none, os_pid = OsPid}) -> #{os_pid => OsPid};
who(#link{session = Session}) -> (hornbeam_session:who(Session))#{os_pid => undefined}.

%% @doc What a process on another machine has said of itself.
-spec labels(link()) -> hornbeam_labels:labels().
labels(#link{session = none}) -> #{};
labels(#link{session = Session}) -> maps:get(labels, hornbeam_session:who(Session)).

-spec about(link()) -> map().
about(#link{handshake = Handshake}) -> hornbeam_handshake:about(Handshake).

-spec hooks(link()) -> [binary()].
hooks(#link{handshake = Handshake}) -> hornbeam_handshake:hooks(Handshake).
