%% SPDX-License-Identifier: Apache-2.0
%% @doc Nodes as DNS has them: the addresses of a name, or the targets of its SRV records, with a
%% name in front of them. Runs in a process that whoever asks kills at the deadline.
-module(hornbeam_cluster_dns).

-export([nodes/2]).

%% More are no cluster of Erlang nodes.
-define(MOST, 1024).

%% @doc The names of the nodes, `Basename@address', in order. A name that begins with an underscore
%% is asked for SRV records (RFC 2782) and its targets are hosts; any other one for the addresses of
%% the kind that this node's distribution speaks, as the operating system resolves it.
-spec nodes(Name :: binary(), Basename :: binary()) ->
    {ok, [binary()]} | {error, inet:posix() | term()}.
nodes(<<"_", _/binary>> = Name, Basename) ->
    case inet_res:resolve(binary_to_list(Name), in, srv) of
        {ok, Message} ->
            Hosts = [Host || {_, _, _, Host} <- data(Message)],
            {ok, named(Basename, Hosts)};
        {error, Reason} ->
            {error, reason(Reason)}
    end;
nodes(Name, Basename) ->
    case inet:getaddrs(binary_to_list(Name), family()) of
        {ok, Addresses} -> {ok, named(Basename, [inet:ntoa(Address) || Address <- Addresses])};
        {error, Reason} -> {error, Reason}
    end.

data(Message) ->
    Answers = inet_dns:msg(Message, anlist),
    [inet_dns:rr(Answer, data) || Answer <- Answers, inet_dns:rr(Answer, type) =:= srv].

%% An error of the resolver carries the whole message.
reason({Reason, _Message}) -> Reason;
reason(Reason) -> Reason.

named(Basename, Hosts) ->
    Names = [<<Basename/binary, "@", (host(Host))/binary>> || Host <- Hosts],
    lists:sublist(lists:usort(Names), ?MOST).

host(Host) ->
    list_to_binary(string:lowercase(string:trim(Host, trailing, "."))).

family() ->
    case init:get_argument(proto_dist) of
        {ok, [["inet6" ++ _] | _]} -> inet6;
        _ -> inet
    end.
