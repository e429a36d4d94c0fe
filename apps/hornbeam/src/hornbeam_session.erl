%% SPDX-License-Identifier: Apache-2.0
%% @doc The connection to a process on another machine that has attached itself (`hornbeam_attach').
%% It speaks as ports do (PROTOCOL.md, section 2.2): it is sent `{Owner, {command, Packet}}' and
%% `{Owner, close}', it sends `{Pid, {data, Packet}}' and `{Pid, {exit_status, Status}}'.
%%
%% open/1, send/2, lost/2 and close/1 run in the worker process. Beside it there is one process that
%% writes while the connection is busy: whoever sends then is suspended, and the worker process must
%% stay able to act on deadlines. As with a port, credit bounds what is under way.
-module(hornbeam_session).

-export([open/1, pid/1, send/2, lost/2, is_given_up/2, close/1, boot/1, who/1]).
-export_type([session/0, state/0, kind/0]).

%% Serves requests and handlers; handlers; whatever it registers.
-type kind() :: worker | hooks | client.

-type session() :: #{
    kind := kind(),
    %% Who attaches itself, and what marks the answer.
    from := {pid(), reference()},
    labels := hornbeam_labels:labels(),
    %% Fields of BOOT that it decides on itself.
    boot := #{binary() => term()}
}.

-record(state, {
    session :: session(),
    pid :: pid(),
    monitor :: reference(),
    writer :: pid(),
    %% packets that the writer has and has not sent
    waiting :: atomics:atomics_ref(),
    %% milliseconds of silence after which either side gives the connection up
    ticktime :: pos_integer()
}).
-opaque state() :: #state{}.

%% Milliseconds that the reason of a lost connection may take after the news of it.
-define(REASON_TIMEOUT, 2000).
-define(NODE_EVENTS, [nodedown_reason, {node_type, all}]).

%% @doc Answer the process that has attached itself, and watch over it.
-spec open(session()) -> state().
open(#{from := {Pid, Ref}} = Session) ->
    _ = net_kernel:monitor_nodes(true, ?NODE_EVENTS),
    Waiting = atomics:new(1, []),
    Ticktime = ticktime(),
    State = #state{
        session = Session,
        pid = Pid,
        monitor = monitor(process, Pid),
        writer = spawn_link(fun() -> write(Pid, Waiting) end),
        waiting = Waiting,
        ticktime = Ticktime
    },
    ok = send_message({Ref, {attached, self(), #{<<"ticktime">> => Ticktime}}}, State),
    State.

ticktime() ->
    case net_kernel:get_net_ticktime() of
        Seconds when is_integer(Seconds) -> Seconds * 1000;
        {ongoing_change_to, Seconds} -> Seconds * 1000;
        ignored -> 60000
    end.

-spec pid(state()) -> pid().
pid(#state{pid = Pid}) -> Pid.

%% @doc Send one packet, or have it sent. When the connection is gone it is lost with it; the news
%% of that is on its way.
-spec send(binary(), state()) -> ok.
send(Packet, State) ->
    send_message({self(), {command, Packet}}, State).

%% Nothing overtakes what the writer still has: it counts a packet off when it is sent.
send_message(Message, #state{pid = Pid, writer = Writer, waiting = Waiting}) ->
    case atomics:get(Waiting, 1) =:= 0 andalso
        erlang:send(Pid, Message, [nosuspend, noconnect])
    of
        ok ->
            ok;
        noconnect ->
            ok;
        _Busy ->
            atomics:add(Waiting, 1, 1),
            Writer ! {write, Message},
            ok
    end.

%% No deadline: it ends with the worker process, or when that closes the session.
write(Pid, Waiting) ->
    receive
        {write, Message} ->
            _ = erlang:send(Pid, Message, [noconnect]),
            atomics:sub(Waiting, 1, 1),
            write(Pid, Waiting)
    end.

%% @doc What the news of its end means: see `hornbeam_link:lost/2'. A connection that was closed has
%% brought all that was written to it before; one that was given up because nothing came has not.
-spec lost(Reason :: term(), state()) -> closed | silent.
lost(noconnection, #state{pid = Pid}) ->
    Node = node(Pid),
    receive
        {nodedown, Node, Info} ->
            case proplists:get_value(nodedown_reason, Info) of
                connection_closed -> closed;
                _ -> silent
            end
    after ?REASON_TIMEOUT -> silent
    end;
lost(_, _) ->
    closed.

%% @doc Whether it was silent for too long. The distribution itself does not always notice: a tick
%% that finds the connection busy waits for it, and while it waits nothing is given up (OTP 25).
-spec is_given_up(Milliseconds :: non_neg_integer(), state()) -> boolean().
is_given_up(Silent, #state{ticktime = Ticktime}) -> Silent > Ticktime.

%% @doc Whoever still runs there is told that nobody listens any more; or, where nothing gets
%% through, hung up on, which frees what has gathered for it.
-spec close(state()) -> ok.
close(#state{pid = Pid, monitor = Monitor, writer = Writer, waiting = Waiting} = State) ->
    _ = case atomics:get(Waiting, 1) of
        0 -> send_message({self(), close}, State);
        _ -> erlang:disconnect_node(node(Pid))
    end,
    _ = demonitor(Monitor, [flush]),
    _ = net_kernel:monitor_nodes(false, ?NODE_EVENTS),
    true = unlink(Writer),
    true = exit(Writer, kill),
    flush(node(Pid)).

flush(Node) ->
    receive
        {nodedown, Node, _} -> flush(Node)
    after 0 -> ok
    end.

%% @doc Fields of BOOT that are its own.
-spec boot(state()) -> #{binary() => term()}.
boot(#state{session = #{boot := Boot}}) -> Boot#{<<"files">> => false}.

%% @doc For logs and `hornbeam:info/0'.
-spec who(state()) -> #{node := node(), kind := kind(), labels := hornbeam_labels:labels()}.
who(#state{session = #{kind := Kind, labels := Labels}, pid = Pid}) ->
    #{node => node(Pid), kind => Kind, labels => Labels}.
