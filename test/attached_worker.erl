%% SPDX-License-Identifier: Apache-2.0
%% @doc A worker on another machine, by hand: a process of a peer node that attaches itself to a
%% hornbeam node and speaks frames. What it is sent it keeps until it is asked for.
%%
%% start/3 runs in the process that calls it, beside the node that is told what to do by `rpc'-like
%% calls of `peer'; everything else in the process of the worker.
-module(attached_worker).

-export([attach/2, greet/1, quiet/1, send/2, exit_status/2, next/1, packets/1]).

-define(PATIENCE, 60000).

%% @doc Attach a new process of this node to Node: what it was answered.
-spec attach(node(), map()) ->
    {attached, pid(), map()} | {refused, binary(), binary()} | no_answer.
attach(Node, Options) ->
    Caller = self(),
    Pid = spawn(fun() ->
        Ref = make_ref(),
        {hornbeam_attach, Node} ! {attach, {self(), Ref}, Options},
        receive
            {Ref, {attached, Worker, Info}} ->
                Caller ! {self(), {attached, self(), Info}},
                serve(Worker, infinity, [], [], []);
            {Ref, Refused} ->
                Caller ! {self(), Refused}
        end
    end),
    receive
        {Pid, Answer} -> Answer
    after ?PATIENCE -> no_answer
    end.

%% Milliseconds between signs of life; messages that were decoded and not asked for; packets, newest
%% first; who asks for a message.
serve(Worker, Beat, [Message | Rest], Packets, [From | Askers]) ->
    From ! {self(), Message},
    serve(Worker, Beat, Rest, Packets, Askers);
serve(Worker, Beat, Messages, Packets, Askers) ->
    receive
        {Worker, {command, Packet}} ->
            serve(Worker, Beat, Messages ++ binary_to_term(Packet), [Packet | Packets], Askers);
        {Worker, close} ->
            serve(Worker, Beat, Messages ++ [closed], Packets, Askers);
        {send, Out} ->
            Worker ! {self(), {data, term_to_binary(Out)}},
            serve(Worker, Beat, Messages, Packets, Askers);
        {exit_status, Status} ->
            Worker ! {self(), {exit_status, Status}},
            serve(Worker, Beat, Messages, Packets, Askers);
        {packets, From} ->
            From ! {self(), Packets},
            serve(Worker, Beat, Messages, Packets, Askers);
        {beat, Milliseconds} ->
            serve(Worker, Milliseconds, Messages, Packets, Askers);
        {next, From} ->
            serve(Worker, Beat, Messages, Packets, Askers ++ [From])
    after Beat ->
        Worker ! {self(), {data, term_to_binary([{6}])}},
        serve(Worker, Beat, Messages, Packets, Askers)
    end.

%% @doc HELLO and BOOT are answered; the configuration of BOOT.
-spec greet(pid()) -> map().
greet(Pid) ->
    send(Pid, [{1, 1, 1, #{<<"pid">> => 1}}]),
    Pid ! {beat, 500},
    {1, _, _, _} = next(Pid),
    {2, Config} = next(Pid),
    Config.

%% @doc No signs of life any more.
-spec quiet(pid()) -> ok.
quiet(Pid) ->
    Pid ! {beat, infinity},
    ok.

-spec send(pid(), [tuple()]) -> ok.
send(Pid, Messages) ->
    Pid ! {send, Messages},
    ok.

-spec exit_status(pid(), integer()) -> ok.
exit_status(Pid, Status) ->
    Pid ! {exit_status, Status},
    ok.

%% @doc The next message of the node; `closed' when it listens no more.
-spec next(pid()) -> tuple() | closed.
next(Pid) -> ask(Pid, next).

%% @doc Every packet so far, newest first.
-spec packets(pid()) -> [binary()].
packets(Pid) -> ask(Pid, packets).

ask(Pid, What) ->
    Pid ! {What, self()},
    receive
        {Pid, Answer} -> Answer
    after ?PATIENCE -> error({no_answer, What})
    end.
