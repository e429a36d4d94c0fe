%% SPDX-License-Identifier: Apache-2.0
%% @doc Hosts of their own for tests: network namespaces of Linux (iproute2), each with one address,
%% joined by a bridge in a further one. Nothing of it touches the network of the machine.
-module(cluster_hosts).

-export([permitted/0, start/1, stop/1, address/1, exec/1, cut/1, heal/1]).
-export_type([host/0]).

-define(PREFIX, "hb").

%% Number, and the process id of this emulator: part of all names.
-opaque host() :: {1..9, string()}.

%% @doc Whether this machine lets us make namespaces, or why not.
-spec permitted() -> ok | {no, string()}.
permitted() ->
    case ip_program() of
        false ->
            {no, "there is no program ip: install Debian's iproute2"};
        _ ->
            Name = ?PREFIX ++ os:getpid() ++ "try",
            Answer = tried([
                ["netns add ", Name],
                ["-n ", Name, " link add br0 type bridge"],
                ["-n ", Name, " link add port1 type veth peer name eth0"],
                ["netns exec ", Name, " true"]
            ]),
            _ = run(["netns del ", Name]),
            Answer
    end.

%% All that start/1 needs: a container may permit a part of it.
tried([]) ->
    ok;
tried([Arguments | Rest]) ->
    case run(Arguments) of
        "" -> tried(Rest);
        Why -> {no, lists:flatten(["not permitted: ip ", Arguments, ": ", string:trim(Why)])}
    end.

%% Also for users whose PATH has no sbin.
ip_program() ->
    os:find_executable("ip", os:getenv("PATH", "") ++ ":/usr/sbin:/sbin").

run(Arguments) ->
    os:cmd(lists:flatten([ip_program(), " ", Arguments, " 2>&1"])).

done(Arguments) ->
    case run(Arguments) of
        "" -> ok;
        Why -> error({ip, lists:flatten(Arguments), Why})
    end.

%% @doc So many hosts, all connected.
-spec start(1..9) -> [host()].
start(Count) ->
    Id = os:getpid(),
    Switch = switch(Id),
    ok = done(["netns add ", Switch]),
    ok = done(["-n ", Switch, " link add br0 type bridge"]),
    ok = done(["-n ", Switch, " link set br0 up"]),
    Hosts = [{Number, Id} || Number <- lists:seq(1, Count)],
    lists:foreach(fun start_host/1, Hosts),
    Hosts.

start_host({_, Id} = Host) ->
    Name = name(Host),
    Switch = switch(Id),
    Port = port(Host),
    ok = done(["netns add ", Name]),
    ok = done(["-n ", Name, " link set lo up"]),
    ok = done(["-n ", Switch, " link add ", Port, " type veth peer name eth0 netns ", Name]),
    ok = done(["-n ", Switch, " link set ", Port, " master br0 up"]),
    ok = done(["-n ", Name, " address add ", address(Host), "/24 dev eth0"]),
    done(["-n ", Name, " link set eth0 up"]).

%% @doc The hosts are gone; what still runs on them has no network.
-spec stop([host(), ...]) -> ok.
stop([{_, Id} | _] = Hosts) ->
    _ = [run(["netns del ", name(Host)]) || Host <- Hosts],
    _ = run(["netns del ", switch(Id)]),
    ok.

switch(Id) -> ?PREFIX ++ Id ++ "switch".

name({Number, Id}) -> lists:concat([?PREFIX, Id, "host", Number]).

port({Number, _}) -> lists:concat(["port", Number]).

-spec address(host()) -> string().
address({Number, _}) -> lists:concat(["10.213.7.", Number]).

%% @doc The program, and its first arguments, that run another program on the host.
-spec exec(host()) -> {string(), [string()]}.
exec(Host) ->
    {ip_program(), ["netns", "exec", name(Host)]}.

%% @doc Nothing reaches the host or leaves it: the cable is out on the side of the switch, so that
%% the host itself is not told.
-spec cut(host()) -> ok.
cut({_, Id} = Host) ->
    done(["-n ", switch(Id), " link set ", port(Host), " nomaster"]).

-spec heal(host()) -> ok.
heal({_, Id} = Host) ->
    done(["-n ", switch(Id), " link set ", port(Host), " master br0"]).
