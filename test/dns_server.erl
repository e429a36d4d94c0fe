%% SPDX-License-Identifier: Apache-2.0
%% @doc A name server for tests: UDP on a port of 127.0.0.1 that the kernel chooses, A and SRV
%% records that can be changed while it runs.
-module(dns_server).

-export([start/1, stop/1, port/1, set/2]).

-type records() :: #{{string(), a | srv} => [term()]}.

-spec start(records()) -> pid().
start(Records) ->
    Caller = self(),
    Pid = spawn_link(fun() ->
        {ok, Socket} = gen_udp:open(0, [binary, {ip, {127, 0, 0, 1}}]),
        {ok, Port} = inet:port(Socket),
        Caller ! {self(), Port},
        serve(Socket, Port, Records)
    end),
    receive {Pid, _} -> Pid after 30000 -> error(no_server) end.

-spec stop(pid()) -> ok.
stop(Pid) ->
    unlink(Pid),
    true = exit(Pid, kill),
    ok.

-spec port(pid()) -> inet:port_number().
port(Pid) ->
    Pid ! {port, self()},
    receive {Pid, Port} -> Port after 30000 -> error(no_server) end.

-spec set(pid(), records()) -> ok.
set(Pid, Records) ->
    Pid ! {set, Records},
    ok.

serve(Socket, Port, Records) ->
    receive
        {udp, Socket, Ip, From, Packet} ->
            ok = gen_udp:send(Socket, Ip, From, answer(Packet, Records)),
            serve(Socket, Port, Records);
        {port, Pid} ->
            Pid ! {self(), Port},
            serve(Socket, Port, Records);
        {set, New} ->
            serve(Socket, Port, New)
    end.

answer(Packet, Records) ->
    {ok, Question} = inet_dns:decode(Packet),
    [Query] = inet_dns:msg(Question, qdlist),
    Name = inet_dns:dns_query(Query, domain),
    Type = inet_dns:dns_query(Query, type),
    Found = maps:get({string:lowercase(Name), Type}, Records, none),
    Answers = [
        inet_dns:make_rr([{domain, Name}, {type, Type}, {class, in}, {ttl, 0}, {data, Data}])
     || Found =/= none, Data <- Found
    ],
    Header = inet_dns:make_header(inet_dns:msg(Question, header),
        [{qr, true}, {ra, true}, {rcode, rcode(Found)}]),
    inet_dns:encode(inet_dns:make_msg([{header, Header}, {qdlist, [Query]}, {anlist, Answers},
        {nslist, []}, {arlist, []}])).

%% No such name: 3 (RFC 1035, 4.1.1).
rcode(none) -> 3;
rcode(_) -> 0.
